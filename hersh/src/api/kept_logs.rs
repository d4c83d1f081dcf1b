//! The last answer to a request for the log.

use bytes::Bytes;

use crate::base::sync::Mutex;
use crate::shared::LogKind;

/// A request for the log. Equal requests have equal answers until there is a newer line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// The kind that is asked for, `None` for all.
    pub(super) kind: Option<LogKind>,
    pub(super) limit: usize,
}

/// The last answer with its request, and the number of log lines up to which it is good.
#[derive(Default)]
pub(super) struct KeptLogAnswer(pub(super) Mutex<Option<(Request, u64, Bytes)>>);
