//! The last answer to a question for the log.

use bytes::Bytes;

use crate::logbook::LogKind;
use crate::sync::Mutex;

/// What is asked for. Equal requests have equal answers until there is a newer line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// One kind, `None` for all.
    pub(super) kind: Option<LogKind>,
    pub(super) limit: usize,
}

/// The last answer, and up to which line it is good.
#[derive(Default)]
pub(super) struct KeptLogAnswer(pub(super) Mutex<Option<(Request, u64, Bytes)>>);
