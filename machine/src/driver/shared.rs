//! State that the loop and its handles share, behind one short lock that is never held across a wait.

use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::Waker,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    vec::Vec,
};

use tokio::sync::{Notify, oneshot};

use super::{Answer, CallError, Config, Right, SendError};
use crate::{Lane, Machine, Mailbox};

/// The channel for the answer to a `call`.
pub(super) type Reply<M> =
    oneshot::Sender<Result<Answer<<M as Machine>::Effect>, CallError<<M as Machine>::Event>>>;

/// An event on its way to the state machine.
pub(super) struct QueuedEvent<M: Machine> {
    pub(super) event: M::Event,
    pub(super) reply: Option<Reply<M>>,
    pub(super) right: Option<Right>,
}

pub(super) struct Core<M: Machine> {
    pub(super) mailbox: Mailbox<QueuedEvent<M>>,
    pub(super) state: M::State,
    pub(super) generation: u64,
    pub(super) stopped: bool,
    waker: Option<Waker>,
}

pub(super) struct Shared<M: Machine> {
    core: Mutex<Core<M>>,
    /// Whether an event came that the loop must look at before its next one.
    pub(super) urgent: AtomicBool,
    pub(super) stop_asked: AtomicBool,
    pub(super) changed: Notify,
    pub(super) watchers: AtomicUsize,
}

impl<M: Machine> Shared<M> {
    pub(super) fn new(state: M::State, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(Core {
                mailbox: Mailbox::new(config.capacity),
                state,
                generation: 0,
                stopped: false,
                waker: None,
            }),
            urgent: AtomicBool::new(false),
            stop_asked: AtomicBool::new(false),
            changed: Notify::new(),
            watchers: AtomicUsize::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core<M>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event into the mailbox and wakes the loop.
    pub(super) fn offer(&self, queued: QueuedEvent<M>) -> Result<(), SendError<M::Event>> {
        let lane = M::lane(&queued.event);
        let waker = {
            let mut core = self.lock();
            if core.stopped {
                return Err(SendError::Stopped(queued.event));
            }
            if let Err(back) = core.mailbox.offer(lane, queued) {
                return Err(SendError::QueueFull(back.event));
            }
            if lane == Lane::Control {
                self.urgent.store(true, Ordering::Release);
            }
            core.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Asks the loop to end.
    pub(super) fn ask_stop(&self) {
        let waker = {
            let mut core = self.lock();
            self.stop_asked.store(true, Ordering::Release);
            core.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Makes a new state visible to readers.
    pub(super) fn publish(&self, core: &mut Core<M>, state: &M::State) {
        core.generation += 1;
        core.state.clone_from(state);
        if self.watchers.load(Ordering::Acquire) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Closes the machine: hands waiting events back to their callers and accepts no more.
    pub(super) fn close(&self) {
        let waiting = {
            let mut core = self.lock();
            core.stopped = true;
            core.waker = None;
            let mut waiting = Vec::new();
            while let Some(queued) = core.mailbox.pop() {
                waiting.push(queued);
            }
            core.mailbox.shrink();
            waiting
        };
        for queued in waiting {
            queued.reject_stopped();
        }
        self.changed.notify_waiters();
    }
}

impl<M: Machine> Core<M> {
    /// Stores the waker of the loop's task, to be woken when an event comes.
    pub(super) fn park(&mut self, waker: &Waker) {
        match &self.waker {
            Some(known) if known.will_wake(waker) => {}
            Some(_) | None => self.waker = Some(waker.clone()),
        }
    }
}

impl<M: Machine> QueuedEvent<M> {
    /// Returns an event that no caller waits for.
    pub(super) fn without_reply(event: M::Event) -> Self {
        Self {
            event,
            reply: None,
            right: None,
        }
    }

    /// Sends the answer to the caller, if there is one.
    pub(super) fn answer(self, answer: Result<Answer<M::Effect>, CallError<M::Event>>) {
        if let Some(reply) = self.reply {
            // If the caller has gone away, nobody needs the answer.
            drop(reply.send(answer));
        }
    }

    /// Tells the caller, if there is one, that the state machine ended before it took the event in.
    pub(super) fn reject_stopped(self) {
        if let Some(reply) = self.reply {
            drop(reply.send(Err(CallError::Stopped(Some(self.event)))));
        }
    }
}
