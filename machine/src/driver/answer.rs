//! How an event was taken in, or why it was not.

use std::vec::Vec;

use super::JournalError;

/// An event that was not accepted. It comes back in the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError<E> {
    /// The event's lane is full: try again later.
    #[error("the machine's queue is full, try again later")]
    QueueFull(E),
    /// The machine's life is over, or its loop was stopped.
    #[error("the machine is stopped")]
    Stopped(E),
}

/// An event that was not taken in. Where it did not get lost with the loop it comes back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The event's lane is full: try again later.
    #[error("the machine's queue is full, try again later")]
    QueueFull(E),
    /// The machine's life is over, or its loop was stopped. Without the event when the loop
    /// ended in the middle of it: it may or may not be in the journal.
    #[error("the machine is stopped")]
    Stopped(Option<E>),
    /// The event could not be made durable. Nothing has changed.
    #[error(transparent)]
    Journal(JournalError),
}

/// How an event was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<F> {
    /// The number of its record; 0 for an event that was stale and left none.
    pub seq: u64,
    /// The effects of [`Machine::is_reply`](crate::Machine::is_reply).
    pub replies: Vec<F>,
}
