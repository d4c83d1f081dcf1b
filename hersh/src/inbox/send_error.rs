//! Errors of sending to a watcher.

use super::limits::{MESSAGE_LIMIT_BYTES, MESSAGE_TOTAL_LIMIT_BYTES};

/// Why a message was not taken. The message was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full: as much waits as may wait.
    #[error(
        "the message queue is full ({waiting} wait; at most {MESSAGE_TOTAL_LIMIT_BYTES} bytes); \
         try again later"
    )]
    QueueFull {
        /// The number of messages that wait.
        waiting: usize,
    },
    /// The watcher is stopping or over.
    #[error("the watcher is not running")]
    NotRunning,
    /// The message is empty.
    #[error("the message is empty; give it some content")]
    Empty,
    /// The message is too long.
    #[error("the message has {bytes} bytes; at most {MESSAGE_LIMIT_BYTES} are taken")]
    TooLong {
        /// The length of the message, bytes.
        bytes: usize,
    },
}
