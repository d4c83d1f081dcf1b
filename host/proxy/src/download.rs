//! The body of an answer on its way to the client, read as fast as the client takes it. It ends early
//! when the program is silent too long. Whether the client still has access is checked by
//! [`Admittance::watch`](crate::Admittance::watch), since a body that nobody reads does nothing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Frame, SizeHint},
    header::{HeaderName, HeaderValue},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::ConnectionError,
    events::{self, EventPosition},
    keep_alive,
    program_connection::ProgramConnection,
    upstream::RequestPermit,
    wait::WaitEnd,
};
use crate::Guard;

/// Why a body ended early. The client sees its connection close.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("the program broke off: {0}")]
    Broken(#[from] ConnectionError),
    #[error("the program said nothing for too long")]
    Silent,
    #[error("the program ended")]
    Ended,
}

/// Why the body of an answer ended early. The client sees its connection close.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BodyError(#[from] DownloadError);

/// The body of a program's answer.
pub struct Body(Content);

enum Content {
    /// The whole body; empty once it was taken.
    Whole(Bytes),
    Download(Download),
}

impl Body {
    /// Returns a body without content.
    pub(super) fn empty() -> Self {
        Self(Content::Whole(Bytes::new()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Content::Download(download) => download.poll_frame(cx).map_err(BodyError),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Download(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Download(download) => download.size_hint(),
        }
    }
}

/// A body that is read from a program.
struct Download {
    /// The connection to the program, and what is kept with it. At the body's end the connection is given
    /// back. If the body is dropped before that, the connection is closed.
    held: Option<BodyResources>,
    /// How long the program may say nothing.
    silence: Duration,
    /// The position in a stream of events; `None` for any other body. Between two events the host may send
    /// something of its own.
    events: Option<EventPosition>,
    is_waiting: bool,
}

/// What an answer's body needs until its end.
struct BodyResources {
    connection: Box<ProgramConnection>,
    permit: RequestPermit,
    _open: Option<Guard>,
}

/// Returns the body of the answer that `connection` has begun to read, and gives the connection back once the
/// body is complete. `headers` tell whether the body is an event stream. If more of the body has to be read,
/// `open` is called with the token that fires when the instance has ended.
pub(super) fn stream(
    mut connection: Box<ProgramConnection>,
    permit: RequestPermit,
    headers: &[(HeaderName, HeaderValue)],
    open: impl FnOnce(CancellationToken) -> Option<Guard>,
) -> Body {
    if let Some(body) = connection.take_whole_body() {
        give_back(connection, &permit);
        return Body(Content::Whole(body));
    }
    let has_length = connection.size_hint().exact().is_some();
    Body(Content::Download(Download {
        silence: permit.upstream().rules().timeouts.silence,
        events: (!has_length && events::is_event_stream(headers)).then(EventPosition::default),
        held: Some(BodyResources {
            connection,
            _open: open(permit.upstream().ended().clone()),
            permit,
        }),
        is_waiting: false,
    }))
}

fn give_back(connection: Box<ProgramConnection>, permit: &RequestPermit) {
    if let Some(connection) = connection.into_reusable() {
        permit.upstream().put(connection);
    }
}

impl Download {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DownloadError>>> {
        let Some(held) = &mut self.held else {
            return Poll::Ready(None);
        };
        match held.connection.poll_body(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.is_waiting = false;
                if let Some(events) = &mut self.events {
                    events.pass(&data);
                }
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_timeout(cx).map(Some),
        }
    }

    /// Polls the wait for the program. Returns a keep-alive between two events, or an error when the program
    /// was silent for too long or has ended.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DownloadError>> {
        let was_waiting = std::mem::replace(&mut self.is_waiting, true);
        let may_comment = self.events.as_ref().is_some_and(EventPosition::is_between);
        if let Some(held) = &mut self.held {
            if !was_waiting {
                held.connection.wait_at_most(if may_comment {
                    keep_alive(self.silence)
                } else {
                    self.silence
                });
            }
            match held.connection.poll_wait_end(cx) {
                Poll::Ready(WaitEnd::Ended) => return Poll::Ready(Err(DownloadError::Ended)),
                Poll::Ready(WaitEnd::Late) if may_comment => {
                    // The wait for the next bytes begins anew.
                    self.is_waiting = false;
                    return Poll::Ready(Ok(events::COMMENT));
                }
                Poll::Ready(WaitEnd::Late) => return Poll::Ready(Err(DownloadError::Silent)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

impl Download {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let next = self.poll_next(cx);
        let held = match &next {
            Poll::Ready(Some(Err(_))) => {
                self.held = None;
                None
            }
            Poll::Ready(None) => self.held.take(),
            Poll::Ready(Some(Ok(_))) => {
                self.held.take_if(|held| held.connection.is_body_complete())
            }
            Poll::Pending => None,
        };
        if let Some(held) = held {
            give_back(held.connection, &held.permit);
        }
        next.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.held
            .as_ref()
            .map_or_else(none, |held| held.connection.size_hint())
    }
}
