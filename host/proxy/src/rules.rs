//! What one program's manifest says of the way to it.

use std::time::Duration;

use hersh_program::Manifest;
use hyper::header::HeaderName;

use super::names;

/// How long a connection to a program may take: it is on this machine.
const CONNECT: Duration = Duration::from_secs(2);

/// What one program's manifest says of the way to it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where it listens, unless that is a socket.
    pub(crate) port: u16,
    pub(crate) patience: Patience,
    /// Bytes of a request's body.
    pub(crate) body_bytes_max: u64,
    /// Bytes of an answer's head.
    pub(crate) head_bytes_max: usize,
    /// What passes beside the usual headers.
    pub(crate) extra: Extra,
}

/// How long the proxy waits for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a connection to the program.
    pub(crate) connect: Duration,
    /// For the whole of a request's body.
    pub(crate) upload: Duration,
    /// For the head of the program's answer, once it has the whole request.
    pub(crate) answer: Duration,
    /// For the next piece of an answer's body, or the next byte in a tunnel.
    pub(crate) silence: Duration,
}

/// Headers that pass beside the usual ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(super) of_requests: Vec<HeaderName>,
    pub(super) of_answers: Vec<HeaderName>,
}

impl Rules {
    /// The rules in `manifest`.
    pub fn new(manifest: &Manifest) -> Self {
        let rules = &manifest.proxy;
        // They were checked when the manifest came in; the list of what never passes may be longer
        // today.
        let named = |names: &[String]| {
            let names = names.iter().filter_map(|name| names::addable(name).ok());
            names.collect::<Vec<_>>()
        };
        Self {
            port: manifest.readiness.port(),
            patience: Patience {
                connect: CONNECT,
                upload: Duration::from_millis(rules.upload_ms),
                answer: Duration::from_millis(rules.answer_ms),
                silence: Duration::from_millis(rules.silence_ms),
            },
            body_bytes_max: rules.body_bytes,
            head_bytes_max: usize::try_from(rules.head_bytes).unwrap_or(usize::MAX),
            extra: Extra {
                of_requests: named(&rules.request_headers),
                of_answers: named(&rules.response_headers),
            },
        }
    }
}
