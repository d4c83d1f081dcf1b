//! Why a request got no answer from the program.

use std::io;

use hersh_answer::{FramingError, HeadReaderError};
use hersh_base::endpoint::DialError;

use super::{IN_FLIGHT_MAX, PathError, upload::UploadError};

/// Why a request got no answer from the program.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The path is not one that may be asked for.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The method is not one that is passed on.
    #[error("this method is not passed on; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method,
    /// Two readers could understand the request differently.
    #[error("{0}")]
    Malformed(&'static str),
    /// The request for a WebSocket is not a proper one.
    #[error("{0}; a WebSocket is opened as RFC 6455 says")]
    Upgrade(&'static str),
    /// A web page of another origin asks for a tunnel.
    #[error("a web page of another origin may not open a WebSocket to a program")]
    Origin,
    /// The request's body is too large.
    #[error(
        "the request's body is larger than {0} bytes; body under [proxy] in the program's hersh.toml allows more"
    )]
    BodyTooLarge(u64),
    /// The request's body came too slowly.
    #[error(
        "the request's body did not arrive within {0} s; upload under [proxy] in the program's hersh.toml allows more"
    )]
    BodyLate(u64),
    /// The request's body can't be read.
    #[error("the request's body can't be read to its end")]
    BodyBroken,
    /// Too many requests are under way.
    #[error("{IN_FLIGHT_MAX} requests to this program are under way; try again shortly")]
    Busy,
    /// Too many tunnels are open.
    #[error("too many WebSockets are open on this host; close one, or try again later")]
    TunnelsBusy,
    /// No connection to the program could be made.
    #[error("the program's WatcherAPI could not be reached: {0}; look at its logs")]
    Unreachable(#[from] DialError),
    /// The connection broke before an answer, or the program's answer is not a proper one.
    #[error("the program gave no proper answer: {0}; look at its logs")]
    Broken(String),
    /// The client would not be let in any more.
    #[error("the token that asked for this is not valid any more, or its user has another role")]
    Revoked,
    /// The program was stopped or ended meanwhile.
    #[error("the program ended before it answered")]
    Ended,
    /// The program did not answer in time.
    #[error(
        "the program did not answer within {0} s; look at its logs, or set answer under [proxy] in its hersh.toml"
    )]
    Late(u64),
}

impl From<UploadError> for ForwardError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge(bytes_max) => Self::BodyTooLarge(bytes_max),
            UploadError::Broken => Self::BodyBroken,
        }
    }
}

/// Why one connection gave no answer.
pub(super) enum AskError {
    /// The connection had ended before anything was sent. Nothing of the upload was taken.
    Unsent,
    /// The connection had served before, and was closed after the request was sent and before a byte of the
    /// answer came. The program most likely closed it as idle at that moment.
    Stale(ForwardError),
    /// Anything else.
    Failed(ForwardError),
}

/// Why an answer does not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("its connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection too early")]
    Closed,
    #[error(transparent)]
    HeadReader(#[from] HeadReaderError),
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error(transparent)]
    Upload(#[from] UploadError),
}
