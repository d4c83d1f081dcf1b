//! A look at what waits, for people. Takes nothing out.

use super::{Inbox, Message};
use crate::base::sync::locked;

/// Counts of what waits, and the oldest messages.
#[cfg_attr(
    not(feature = "api"),
    allow(dead_code, reason = "only the API shows it")
)]
#[derive(Debug, Default)]
pub(crate) struct QueuedSignals {
    /// Number of messages that wait.
    pub(crate) messages: usize,
    /// Number of variables with an update that waits.
    pub(crate) variables: usize,
    /// Number of requests to end that wait.
    pub(crate) ends: usize,
    /// The oldest messages, at most as many as asked for.
    pub(crate) oldest: Vec<Message>,
}

impl Inbox {
    /// Returns what waits, with at most `limit` of the oldest messages. Takes nothing out.
    #[cfg_attr(
        not(feature = "api"),
        allow(dead_code, reason = "only the API shows it")
    )]
    pub(crate) fn peek(&self, limit: usize) -> QueuedSignals {
        let arrivals = locked(&self.arrivals);
        let queue = locked(&self.queue);
        let messages = queue.iter().chain(&arrivals.messages);
        QueuedSignals {
            messages: queue.len() + arrivals.messages.len(),
            variables: arrivals.changed.len(),
            ends: usize::from(arrivals.stop.is_some()) + usize::from(arrivals.kill.is_some()),
            oldest: messages.take(limit).cloned().collect(),
        }
    }
}
