//! The outside of a running machine: send, call, look, follow, stop.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{
    Answer, CallError, Right, SendError,
    shared::{Queued, Shared},
};
use crate::Machine;

/// The outside of a running machine. Cheap to clone; dropping every handle does not stop it.
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
    /// Puts `event` into its lane and returns at once. While the journal refuses records the
    /// event waits for it.
    ///
    /// # Errors
    /// [`SendError`] with the event.
    pub fn send(&self, event: M::Event) -> Result<(), SendError<M::Event>> {
        self.shared.offer(Queued::unasked(event))
    }

    /// Sends `event` and waits until its record is durable and its state is published. Dropping
    /// the future does not take the event back.
    ///
    /// # Errors
    /// [`CallError`]; but for [`CallError::Stopped`] without the event, nothing has changed.
    pub async fn call(&self, event: M::Event) -> Result<Answer<M::Effect>, CallError<M::Event>> {
        self.call_by(event, None).await
    }

    /// Like [`Handle::call`], by a right that the journal goes by when it stores the record.
    ///
    /// # Errors
    /// As [`Handle::call`]; [`JournalError::Revoked`](super::JournalError::Revoked) if the right does not hold then.
    pub async fn call_by(
        &self,
        event: M::Event,
        right: Option<Right>,
    ) -> Result<Answer<M::Effect>, CallError<M::Event>> {
        let (reply, answer) = oneshot::channel();
        let queued = Queued {
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

    /// A copy of the newest durable state.
    #[must_use]
    pub fn state(&self) -> M::State {
        self.shared.lock().state.clone()
    }

    /// What `read` makes of the newest durable state, without copying it. Keep it short: the
    /// machine waits meanwhile.
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

    /// Asks the loop to end. A running effect is dropped as in a crash; its operation stays
    /// open in the journal and is recovered when the machine is resumed.
    pub fn stop(&self) {
        self.shared.ask_stop();
    }

    /// True once the loop has ended: stopped, terminal, or dropped.
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

/// Follows the states of one machine. A slow reader misses states, never the newest.
pub struct Subscription<M: Machine> {
    handle: Handle<M>,
    seen: u64,
}

impl<M: Machine> Subscription<M> {
    /// The newest state, from now on counted as seen.
    pub fn current(&mut self) -> M::State {
        let core = self.handle.shared.lock();
        self.seen = core.generation;
        core.state.clone()
    }

    /// The number of the state last seen; every published state has a higher one than those
    /// before it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.seen
    }

    /// Waits for a state that was not seen yet. `None` when the loop has ended and its last
    /// state was seen.
    pub async fn changed(&mut self) -> Option<M::State> {
        self.changed_with(M::State::clone).await
    }

    /// What `read` makes of the next state that was not seen yet, without copying it. Keep it
    /// short: the machine waits meanwhile. `None` as in [`Subscription::changed`].
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
