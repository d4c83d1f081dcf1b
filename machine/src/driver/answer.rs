//! Answers to events: an event was taken in, or why it was not.

use std::vec::Vec;

use super::JournalError;

/// The reason why an event was not accepted. The error returns the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError<E> {
    /// The event's lane is full: try again later.
    #[error("the machine's queue is full, try again later")]
    QueueFull(E),
    /// The state machine's life is over, or its loop was stopped.
    #[error("the machine is stopped")]
    Stopped(E),
}

/// The reason why an event was not taken in. The error returns the event, unless the event was lost with the
/// loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The event's lane is full: try again later.
    #[error("the machine's queue is full, try again later")]
    QueueFull(E),
    /// The state machine's life is over, or its loop was stopped. Holds no event when the loop ended while it
    /// took the event in: the event may or may not be in the journal.
    #[error("the machine is stopped")]
    Stopped(Option<E>),
    /// The event could not be made durable. Nothing has changed.
    #[error(transparent)]
    Journal(JournalError),
}

/// The answer to an event that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<F> {
    /// The number of the event's record; 0 for an event that was stale and left no record.
    pub seq: u64,
    /// The effects that are replies to the caller, by [`Machine::is_reply`](crate::Machine::is_reply).
    pub replies: Vec<F>,
}
