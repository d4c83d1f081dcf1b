//! The rules of one program's manifest for requests to the program.

use std::time::Duration;

use hersh_program::Manifest;
use hyper::header::HeaderName;

use super::names;

/// How long connecting to a program may take. The program is on this machine, so this can be short.
const CONNECT: Duration = Duration::from_secs(2);

/// The rules of one program's manifest for requests to the program.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The port on which the program listens, unless it listens on a socket.
    pub(crate) port: u16,
    pub(crate) timeouts: StepTimeouts,
    /// The most bytes of a request's body.
    pub(crate) body_bytes_max: u64,
    /// The most bytes of an answer's head.
    pub(crate) head_bytes_max: usize,
    /// The headers that pass beside the usual ones.
    pub(crate) extra: ExtraHeaders,
}

/// How long the proxy waits for each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepTimeouts {
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
pub(crate) struct ExtraHeaders {
    pub(super) of_requests: Vec<HeaderName>,
    pub(super) of_answers: Vec<HeaderName>,
}

impl Rules {
    /// Returns the rules in `manifest`.
    pub fn new(manifest: &Manifest) -> Self {
        let rules = &manifest.proxy;
        // The names were checked when the manifest came in. The list of headers that never pass may be longer
        // today.
        let named = |names: &[String]| {
            let names = names.iter().filter_map(|name| names::addable(name).ok());
            names.collect::<Vec<_>>()
        };
        Self {
            port: manifest.readiness.port(),
            timeouts: StepTimeouts {
                connect: CONNECT,
                upload: Duration::from_millis(rules.upload_ms),
                answer: Duration::from_millis(rules.answer_ms),
                silence: Duration::from_millis(rules.silence_ms),
            },
            body_bytes_max: rules.body_bytes,
            head_bytes_max: usize::try_from(rules.head_bytes).unwrap_or(usize::MAX),
            extra: ExtraHeaders {
                of_requests: named(&rules.request_headers),
                of_answers: named(&rules.response_headers),
            },
        }
    }
}
