//! A message on its way to its run, and what a run begins with.

use std::sync::Arc;

use super::var::Var;

/// A message on its way to its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Counts the messages of one context, from 1.
    pub(crate) number: u64,
    pub(crate) content: Arc<str>,
    /// When the message came in, milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// What else is known of a message that is kept on disk.
    pub(crate) kept: Option<Box<KeptNote>>,
}

/// What is known of a message that is kept on disk. Apart, because a queue of messages in memory alone is a third
/// longer with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptNote {
    /// True when its run may have ended an earlier life of the watcher.
    pub(crate) is_suspect: bool,
    /// When the message was queued, which an earlier life may have left to this one.
    pub(crate) queued_at_ms: u64,
}

/// Which message a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextMessage {
    /// None.
    Nothing,
    /// The oldest that waits.
    Oldest,
    /// That of the run before, which failed.
    Same,
}

/// What a run takes in.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// The message of the run, if it carries one.
    pub(crate) message: Option<Message>,
    /// The variables whose updates the run takes in.
    pub(crate) changed: Vec<Arc<Var>>,
}

impl Message {
    /// Returns when the message was queued.
    #[cfg(feature = "api")]
    pub(crate) fn queued_at_ms(&self) -> u64 {
        self.kept
            .as_ref()
            .map_or(self.at_ms, |kept| kept.queued_at_ms)
    }
}
