//! The loop itself: one future that owns the stepper.

use alloc::{boxed::Box, sync::Arc};
use core::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};
use std::vec::Vec;

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Answer, CallError, Clock, Config, Driver, Handle, Handler, Journal,
    runner::Runner,
    shared::{Queued, Reply, Shared},
    store::Stored,
};
use crate::{Machine, Mailbox, OpId, Stepper};

/// Steps between two pauses that let other tasks run.
const STEPS_PER_TURN: u32 = 256;
/// The longest sleep: bounds how late a deadline is after the system's clock was set forward.
const LONGEST_SLEEP_MS: u64 = 60_000;

pub(super) struct Engine<M: Machine, H, J, C> {
    stepper: Stepper<M>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) runner: Runner<M>,
    /// Events fetched from the mailbox under one lock.
    pub(super) batch: Mailbox<Queued<M>>,
    /// An outcome that came while a record was being stored.
    pub(super) outcome: Option<Box<M::Event>>,
    timer: Option<Pin<Box<Sleep>>>,
    pub(super) handler: Arc<H>,
    pub(super) journal: J,
    clock: C,
    config: Config,
    now_ms: u64,
    steps: u32,
    /// The state has changed since it was last published.
    unpublished: bool,
    /// The runner's effect may have been woken since it was last polled.
    pub(super) runner_woken: bool,
}

/// What the loop does next.
enum Next<M: Machine> {
    Take(Queued<M>),
    Due(M::Event),
    Stop,
}

/// Closes the machine however its loop ends: by itself, dropped, or by a panic.
struct CloseOnDrop<M: Machine>(Arc<Shared<M>>);

impl<M: Machine> Drop for CloseOnDrop<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<M, H, J, C> Engine<M, H, J, C>
where
    M: Machine + 'static,
    M::State: Send,
    M::Event: Send + Sync,
    M::Effect: Send + Sync,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    pub(super) fn new(driver: Driver<M, H, J, C>) -> (Self, Handle<M>) {
        let shared = Shared::new(driver.stepper.state().clone(), &driver.config);
        let handle = Handle {
            shared: Arc::clone(&shared),
        };
        let engine = Self {
            runner: Runner::new(driver.stepper.open()),
            stepper: driver.stepper,
            shared,
            batch: Mailbox::new(driver.config.capacity),
            outcome: None,
            timer: None,
            handler: driver.handler,
            journal: driver.journal,
            clock: driver.clock,
            config: driver.config,
            now_ms: 0,
            steps: 0,
            unpublished: false,
            runner_woken: true,
        };
        (engine, handle)
    }

    pub(super) async fn run(mut self) {
        let _close = CloseOnDrop(Arc::clone(&self.shared));
        while !M::is_terminal(self.stepper.state()) {
            match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Take(queued) if self.stepper.is_stale(&queued.event) => {
                    answer::<M>(
                        queued.reply,
                        Ok(Answer {
                            seq: 0,
                            replies: Vec::new(),
                        }),
                    );
                }
                Next::Take(queued) => self.take(queued).await,
                Next::Due(event) => self.take(Queued { event, reply: None }).await,
                Next::Stop => break,
            }
        }
        self.publish();
        while let Some(queued) = self.batch.pop() {
            queued.stopped();
        }
    }

    /// Finds the next event: own outcomes, then the control lane, deadlines, and the rest.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next<M>> {
        self.steps += 1;
        if self.steps > STEPS_PER_TURN {
            self.steps = 0;
            self.runner_woken = true;
            self.publish();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.now_ms = self.clock.now_ms();
        loop {
            if self.shared.stop_asked.load(Ordering::Acquire) {
                return Poll::Ready(Next::Stop);
            }
            if let Some(event) = self.poll_outcome(cx) {
                return Poll::Ready(Next::Take(Queued { event, reply: None }));
            }
            if let Some(next) = self.next_waiting() {
                return Poll::Ready(next);
            }
            if !self.park(cx) && !self.poll_timer(cx) {
                self.steps = 0;
                self.runner_woken = true;
                return Poll::Pending;
            }
            self.now_ms = self.clock.now_ms();
        }
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Option<M::Event> {
        if let Some(event) = self.outcome.take() {
            return Some(*event);
        }
        if !self.runner_woken {
            return None;
        }
        let outcome = self.runner.poll(&self.handler, cx);
        self.runner_woken = outcome.is_some();
        outcome
    }

    fn next_waiting(&mut self) -> Option<Next<M>> {
        let open = self.runner.waiting() < self.config.effect_queue as usize;
        if open {
            if self.shared.urgent.swap(false, Ordering::AcqRel) {
                self.shared
                    .lock()
                    .mailbox
                    .drain_control_into(&mut self.batch);
            }
            if let Some(queued) = self.batch.pop_control() {
                return Some(Next::Take(queued));
            }
        }
        if let Some(event) = self.stepper.due(self.now_ms) {
            return Some(Next::Due(event));
        }
        if open {
            self.batch.pop().map(Next::Take)
        } else {
            None
        }
    }

    /// Publishes, fetches what came meanwhile, and if nothing came leaves the waker. True when
    /// there is something to take.
    fn park(&mut self, cx: &mut Context<'_>) -> bool {
        let state = self.unpublished.then(|| self.stepper.state().clone());
        self.unpublished = false;
        let mut core = self.shared.lock();
        if let Some(state) = state {
            self.shared.publish(&mut core, state);
        }
        let open = self.runner.waiting() < self.config.effect_queue as usize;
        if open && !core.mailbox.is_empty() {
            core.mailbox.drain_into(&mut self.batch);
            return true;
        }
        core.mailbox.shrink();
        self.shared.park(&mut core, cx.waker());
        drop(core);
        self.batch.shrink();
        self.runner.shrink();
        self.stepper.shrink();
        // The stop flag is set before the waker is taken: look again now that it is left.
        self.shared.stop_asked.load(Ordering::Acquire)
    }

    /// True when the time of the next deadline has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((at_ms, _)) = M::wake(self.stepper.state()) else {
            self.timer = None;
            return false;
        };
        let wait_ms = at_ms.saturating_sub(self.now_ms).min(LONGEST_SLEEP_MS);
        let until = Instant::now() + Duration::from_millis(wait_ms);
        let timer = match &mut self.timer {
            Some(timer) => {
                timer.as_mut().reset(until);
                timer
            }
            None => self.timer.insert(Box::pin(sleep_until(until))),
        };
        timer.as_mut().poll(cx).is_ready()
    }

    /// Takes one event in: durable first, then state, answer and effects.
    async fn take(&mut self, queued: Queued<M>) {
        let Queued { event, reply } = queued;
        let completed = M::completes(&event);
        let effects = if J::DURABLE {
            let step = Box::new(self.stepper.prepare(event, self.now_ms));
            match Box::pin(self.store(&step.record, reply.is_some())).await {
                Stored::Durable => self.stepper.commit(*step).effects,
                Stored::Refused(error) => {
                    return answer::<M>(reply, Err(CallError::Journal(error)));
                }
                Stored::Stopping => return,
            }
        } else {
            self.stepper.advance(event, self.now_ms)
        };
        self.unpublished = true;
        // Ended by another way than its own handler: that must not hold up the next effect.
        if let Some(op) = completed {
            self.runner.cancel(op, self.config.cancel_grace);
        }
        let replies = self.dispatch(effects);
        if reply.is_some() {
            self.publish();
            let seq = self.stepper.seq();
            answer::<M>(reply, Ok(Answer { seq, replies }));
        }
    }

    fn dispatch(&mut self, effects: Vec<(OpId, M::Effect)>) -> Vec<M::Effect> {
        let mut replies = Vec::new();
        for (op, effect) in effects {
            self.runner_woken = true;
            if M::is_reply(&effect) {
                replies.push(effect);
            } else if let Some(target) = M::cancels(&effect) {
                self.runner.cancel(target, self.config.cancel_grace);
            } else {
                self.runner.push(op, effect);
            }
        }
        replies
    }

    fn publish(&mut self) {
        if self.unpublished {
            self.unpublished = false;
            let state = self.stepper.state().clone();
            self.shared.publish(&mut self.shared.lock(), state);
        }
    }
}

pub(super) fn answer<M: Machine>(
    reply: Option<Reply<M>>,
    answer: Result<Answer<M::Effect>, CallError<M::Event>>,
) {
    if let Some(reply) = reply {
        // A caller that went away needs no answer.
        drop(reply.send(answer));
    }
}
