//! Errors of sending to a watcher.

use super::limits::{MESSAGE_LIMIT_BYTES, MESSAGE_TOTAL_LIMIT_BYTES};
use crate::KEY_LIMIT_BYTES;

/// Why a message was not taken. The message was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full: as much waits, or was set aside, as may.
    #[error(
        "the message queue is full ({waiting} wait, {set_aside} are set aside; at most \
         {MESSAGE_TOTAL_LIMIT_BYTES} bytes); try again later"
    )]
    QueueFull {
        /// The number of messages that wait.
        waiting: usize,
        /// The number of messages that were set aside.
        set_aside: usize,
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
    /// The message cannot be read as what the watcher takes: see
    /// [`Context::message_as`](crate::Context::message_as).
    #[error("the message cannot be read: {problem}")]
    Unreadable {
        /// What is wrong, and where.
        problem: String,
    },
    /// The idempotency key is empty, too long, or has other characters than visible ASCII.
    #[error(
        "the idempotency key is not usable: give 1 to {KEY_LIMIT_BYTES} visible ASCII characters"
    )]
    Key,
    /// Another message came before under the same idempotency key.
    #[error("another message came before under this idempotency key: give each message its own")]
    KeyReused,
    /// The message could not be written to the disk. A crash may bring it back all the same: send it again under
    /// the same idempotency key.
    #[error("the message could not be kept: {problem}")]
    Unkept {
        /// The error of the file system.
        problem: String,
    },
}
