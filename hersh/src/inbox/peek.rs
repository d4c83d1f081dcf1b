//! A look at what waits, for people and for the judgement of the engine's health. Takes nothing out.

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

    /// Returns since when a message or a request to end waits of which the engine does not know,
    /// engine time. A thread that turns takes in at once what came in. Variables have no such time:
    /// what holds the engine's thread after an update keeps their sources from looking again.
    #[cfg(feature = "api")]
    pub(crate) fn unanswered_since_ms(&self) -> Option<u64> {
        // Looked up, not kept: a time that senders write and the engine clears costs a flood of
        // messages a tenth.
        let arrivals = locked(&self.arrivals);
        let ends = arrivals.stop.is_some() || arrivals.kill.is_some();
        let end_at_ms = ends.then_some(arrivals.end_at_ms);
        let message_at_ms = arrivals.messages.front().map(Message::queued_at_ms);
        end_at_ms.into_iter().chain(message_at_ms).min()
    }
}
