//! The handle of a running machine: sends events, reads and follows the state, stops the loop.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{
    Answer, CallError, Right, SendError,
    shared::{QueuedEvent, Shared},
};
use crate::Machine;

/// Controls a running state machine. Cheap to clone; dropping every handle does not stop the state machine.
pub struct Handle<M: Machine> {
    pub(super) shared: Arc<Shared<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Machine> Handle<M> {
    /// Puts `event` into its lane and returns at once. While the journal refuses records, the event waits
    /// until it can be stored.
    ///
    /// # Errors
    /// [`SendError`] with the event.
    pub fn send(&self, event: M::Event) -> Result<(), SendError<M::Event>> {
        self.shared.offer(QueuedEvent::without_reply(event))
    }

    /// Sends `event` and waits until its record is durable and its state is published. Dropping
    /// the future does not take the event back.
    ///
    /// # Errors
    /// [`CallError`]: nothing has changed. But with [`CallError::Stopped`] without the event, the event may
    /// be in the journal.
    pub async fn call(&self, event: M::Event) -> Result<Answer<M::Effect>, CallError<M::Event>> {
        self.call_by(event, None).await
    }

    /// Works like [`Handle::call`], for a caller with `right`: the journal stores the record only if the
    /// right holds at that moment.
    ///
    /// # Errors
    /// The errors of [`Handle::call`], and [`JournalError::Revoked`](super::JournalError::Revoked) if the
    /// right does not hold.
    pub async fn call_by(
        &self,
        event: M::Event,
        right: Option<Right>,
    ) -> Result<Answer<M::Effect>, CallError<M::Event>> {
        let (reply, answer) = oneshot::channel();
        let queued = QueuedEvent {
            event,
            reply: Some(reply),
            right,
        };
        match self.shared.offer(queued) {
            Ok(()) => answer.await.unwrap_or(Err(CallError::Stopped(None))),
            Err(SendError::QueueFull(event)) => Err(CallError::QueueFull(event)),
            Err(SendError::Stopped(event)) => Err(CallError::Stopped(Some(event))),
        }
    }

    /// Returns a copy of the newest durable state.
    #[must_use]
    pub fn state(&self) -> M::State {
        self.shared.lock().state.clone()
    }

    /// Returns the result of `read` on the newest durable state, without a copy. `read` must be short: the
    /// state machine waits meanwhile.
    pub fn with_state<T>(&self, read: impl FnOnce(&M::State) -> T) -> T {
        read(&self.shared.lock().state)
    }

    /// Follows the state from here on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<M> {
        self.shared.watchers.fetch_add(1, Ordering::AcqRel);
        Subscription {
            seen: self.shared.lock().generation,
            handle: self.clone(),
        }
    }

    /// Asks the loop to end. A running effect is dropped as in a crash. Its operation stays open in the
    /// journal and is recovered when the state machine is resumed.
    pub fn stop(&self) {
        self.shared.ask_stop();
    }

    /// Returns whether the loop has ended: stopped, terminal, or dropped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.lock().stopped
    }

    /// Waits until the loop has ended.
    pub async fn stopped(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.is_stopped() {
                return;
            }
            changed.await;
        }
    }
}

/// Follows the states of one state machine. A slow reader misses states, but never the newest.
pub struct Subscription<M: Machine> {
    handle: Handle<M>,
    seen: u64,
}

impl<M: Machine> Subscription<M> {
    /// Returns the newest state and counts it as seen.
    pub fn current(&mut self) -> M::State {
        let core = self.handle.shared.lock();
        self.seen = core.generation;
        core.state.clone()
    }

    /// Returns the number of the state last seen. Every published state has a higher number than those before
    /// it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.seen
    }

    /// Waits for a state that was not seen yet, and returns it. Returns `None` when the loop has ended and
    /// its last state was seen.
    pub async fn changed(&mut self) -> Option<M::State> {
        self.changed_with(M::State::clone).await
    }

    /// Waits for a state that was not seen yet, and returns the result of `read` on it, without a copy.
    /// `read` must be short: the state machine waits meanwhile. Returns `None` as [`Subscription::changed`]
    /// does.
    pub async fn changed_with<T>(&mut self, read: impl FnOnce(&M::State) -> T) -> Option<T> {
        loop {
            let changed = self.handle.shared.changed.notified();
            {
                let core = self.handle.shared.lock();
                if core.generation != self.seen {
                    self.seen = core.generation;
                    return Some(read(&core.state));
                }
                if core.stopped {
                    return None;
                }
            }
            changed.await;
        }
    }
}

impl<M: Machine> Drop for Subscription<M> {
    fn drop(&mut self) {
        self.handle.shared.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}
