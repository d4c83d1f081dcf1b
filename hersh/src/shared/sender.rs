//! A handle that only sends messages.

use std::sync::Arc;

use super::Shared;
use crate::SendError;

/// Sends messages to the watcher that it came from: see [`Context::sender`](crate::Context::sender). Clones send
/// to the same one.
#[derive(Clone, Debug)]
pub struct Sender {
    /// `None` in a test and in a replay, where messages are made up or recorded.
    shared: Option<Arc<Shared>>,
}

impl Sender {
    /// Returns a sender to this watcher.
    pub(crate) fn to(shared: Arc<Shared>) -> Self {
        let shared = Some(shared);
        Self { shared }
    }

    /// Returns a sender whose messages go nowhere.
    pub(crate) fn to_nobody() -> Self {
        Self { shared: None }
    }

    /// Queues a message: it has exactly one run that counts, after those that were queued before it. With a state
    /// folder it is on disk soon; to wait for that, see [`Watcher::deliver`](crate::Watcher::deliver). In a test and in a
    /// replay the message is dropped: what a run takes in there is made up, or recorded.
    ///
    /// # Errors
    /// [`SendError`]; the message was not queued then.
    pub fn send(&self, message: impl Into<Arc<str>>) -> Result<(), SendError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        shared.send(message.into())
    }
}
