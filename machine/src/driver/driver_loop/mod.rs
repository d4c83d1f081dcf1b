//! The loop itself: one future that owns the stepper. It is written by hand because it makes up most of the
//! cost of an idle state machine.

mod store;

use alloc::{boxed::Box, sync::Arc};
use core::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};
use std::vec::Vec;

use tokio::time::{Instant, Sleep, sleep_until};

use self::store::StepStore;
use super::{
    Answer, Clock, Config, Driver, Handle, Handler, Journal, SendMachine,
    clock::Time,
    runner::Runner,
    shared::{QueuedEvent, Reply, Shared},
};
use crate::{Machine, Mailbox, RecordOf, Stepper};

/// The number of steps in one poll of the loop. After them, other tasks may run.
const STEPS_PER_POLL: u32 = 256;
/// The number of steps between two looks at the clock while the state machine is busy.
const STEPS_PER_CLOCK_READ: u32 = 16;
/// The longest sleep, milliseconds. It limits how late a deadline can come after the system's clock was set
/// forward.
const LONGEST_SLEEP_MS: u64 = 60_000;

/// The event that a driver takes in before anything else, and how far it has come with it.
enum FirstEvent<M: Machine> {
    /// The event is to be taken in.
    Due(Box<M::Event>),
    /// The event is being stored.
    Storing,
    /// It is stored, or there was none.
    Over,
}

pub(super) struct DriverLoop<M: Machine, H, J, C> {
    pub(super) stepper: Stepper<M>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) runner: Runner<M, H>,
    /// Events fetched from the mailbox under one lock.
    pub(super) batch: Mailbox<QueuedEvent<M>>,
    /// An outcome that came while a record was being stored.
    pub(super) outcome: Option<Box<M::Event>>,
    storing: StepStore<M, J>,
    timer: Option<Pin<Box<Sleep>>>,
    pub(super) time: Time<C>,
    config: Config,
    first_event: FirstEvent<M>,
    /// Whether the state has changed since it was last published.
    unpublished: bool,
    /// Whether the runner's effect may have been woken since it was last polled.
    pub(super) runner_woken: bool,
}

// Nothing in the loop is pinned in place: every future is in a box of its own.
impl<M: Machine, H, J, C> Unpin for DriverLoop<M, H, J, C> {}

/// Closes the state machine when the loop ends by itself, is dropped or panics. Otherwise callers would wait
/// for an answer that never comes.
impl<M: Machine, H, J, C> Drop for DriverLoop<M, H, J, C> {
    fn drop(&mut self) {
        self.shared.close();
        while let Some(queued) = self.batch.pop() {
            queued.reject_stopped();
        }
    }
}

impl<M, H, J, C> Future for DriverLoop<M, H, J, C>
where
    M: SendMachine,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver_loop = self.get_mut();
        driver_loop.runner_woken = true;
        driver_loop.time.read();
        for step in 1..=STEPS_PER_POLL {
            let stop_asked = driver_loop.shared.stop_asked.load(Ordering::Acquire);
            if stop_asked || M::is_terminal(driver_loop.stepper.state()) {
                driver_loop.publish();
                driver_loop.shared.close();
                return Poll::Ready(());
            }
            if !driver_loop.step(cx) {
                return Poll::Pending;
            }
            if step % STEPS_PER_CLOCK_READ == 0 {
                driver_loop.time.read();
            }
        }
        driver_loop.publish();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<M, H, J, C> DriverLoop<M, H, J, C>
where
    M: SendMachine,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    pub(super) fn new(mut driver: Driver<M, H, J, C>) -> (Self, Handle<M>) {
        let shared = Shared::new(driver.stepper.state().clone(), &driver.config);
        let handle = Handle {
            shared: Arc::clone(&shared),
        };
        let least_ms = driver.stepper.now_ms();
        let driver_loop = Self {
            runner: Runner::new(driver.handler, driver.stepper.keep_ids_only()),
            stepper: driver.stepper,
            shared,
            batch: Mailbox::new(driver.config.capacity),
            outcome: None,
            timer: None,
            storing: StepStore::idle(driver.journal),
            time: Time::starting_at(driver.clock, least_ms),
            config: driver.config,
            first_event: match driver.first {
                Some(event) => FirstEvent::Due(Box::new(event)),
                None => FirstEvent::Over,
            },
            unpublished: false,
            runner_woken: true,
        };
        (driver_loop, handle)
    }

    /// Does one step. Returns false when there is nothing to do until something wakes the task.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        if self.storing.is_busy() {
            return self.poll_storing(cx);
        }
        if let Some(event) = self.take_first_event() {
            self.take(QueuedEvent::without_reply(event));
        } else if let Some(event) = self.next_outcome(cx) {
            self.take_unless_stale(QueuedEvent::without_reply(event));
        } else if let Some(queued) = self.next_control() {
            self.take_unless_stale(queued);
        } else if let Some(event) = self.stepper.due(self.time.now_ms()) {
            // The state itself asks for this event, so the event cannot be stale.
            self.take(QueuedEvent::without_reply(event));
        } else if let Some(queued) = self.next_waiting() {
            self.take_unless_stale(queued);
        } else {
            return self.fetch_or_park(cx) || self.poll_timer(cx);
        }
        true
    }

    fn take_first_event(&mut self) -> Option<M::Event> {
        match mem::replace(&mut self.first_event, FirstEvent::Storing) {
            FirstEvent::Due(event) => Some(*event),
            now @ (FirstEvent::Storing | FirstEvent::Over) => {
                self.first_event = now;
                None
            }
        }
    }

    /// Goes on with the running effect. Returns its outcome, if it has one. Nothing runs before the first event
    /// is stored.
    pub(super) fn poll_runner(&mut self, cx: &mut Context<'_>) -> Option<M::Event> {
        match self.first_event {
            FirstEvent::Due(_) | FirstEvent::Storing => None,
            FirstEvent::Over => self.runner.poll(cx),
        }
    }

    fn next_outcome(&mut self, cx: &mut Context<'_>) -> Option<M::Event> {
        if let Some(event) = self.outcome.take() {
            return Some(*event);
        }
        if !self.runner_woken {
            return None;
        }
        let outcome = self.poll_runner(cx);
        self.runner_woken = outcome.is_some();
        outcome
    }

    fn next_control(&mut self) -> Option<QueuedEvent<M>> {
        if !self.is_open() {
            return None;
        }
        if self.shared.urgent.load(Ordering::Acquire) {
            self.shared.urgent.store(false, Ordering::Release);
            self.shared
                .lock()
                .mailbox
                .drain_control_into(&mut self.batch);
        }
        self.batch.pop_control()
    }

    fn next_waiting(&mut self) -> Option<QueuedEvent<M>> {
        if self.is_open() {
            self.batch.pop()
        } else {
            None
        }
    }

    /// Returns whether the loop takes events from the mailbox: not while too many effects wait for their
    /// turn.
    fn is_open(&self) -> bool {
        self.runner.waiting() < self.config.effect_queue as usize
    }

    /// Publishes the state and fetches the events that came meanwhile. If none came, stores the waker, so that
    /// the next one wakes the task. Returns whether there is something to do.
    pub(super) fn fetch_or_park(&mut self, cx: &mut Context<'_>) -> bool {
        let mut core = self.shared.lock();
        if self.unpublished {
            self.unpublished = false;
            self.shared.publish(&mut core, self.stepper.state());
        }
        if !self.storing.is_busy() && self.is_open() && !core.mailbox.is_empty() {
            core.mailbox.drain_into(&mut self.batch);
            return true;
        }
        core.mailbox.shrink();
        core.park(cx.waker());
        drop(core);
        self.batch.shrink();
        self.runner.shrink();
        // A stop request sets the flag, then takes the waker. One that came before the waker was stored
        // woke nobody, so check the flag again: otherwise the loop would sleep through it.
        self.shared.stop_asked.load(Ordering::Acquire)
    }

    /// Returns whether the time of the next deadline has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((at_ms, _)) = M::wake(self.stepper.state()) else {
            self.timer = None;
            return false;
        };
        let wait_ms = at_ms.saturating_sub(self.time.read()).min(LONGEST_SLEEP_MS);
        let until = Instant::now() + Duration::from_millis(wait_ms);
        let timer = match &mut self.timer {
            Some(timer) => {
                timer.as_mut().reset(until);
                timer
            }
            None => self.timer.insert(Box::pin(sleep_until(until))),
        };
        let rang = timer.as_mut().poll(cx).is_ready();
        if rang {
            self.time.read();
        }
        rang
    }

    fn take_unless_stale(&mut self, queued: QueuedEvent<M>) {
        if self.stepper.is_stale(&queued.event) {
            queued.answer(Ok(Answer {
                seq: 0,
                replies: Vec::new(),
            }));
        } else {
            self.take(queued);
        }
    }

    /// Begins to process one event. Its step takes effect only after its record is stored.
    fn take(&mut self, queued: QueuedEvent<M>) {
        let QueuedEvent {
            event,
            reply,
            right,
        } = queued;
        let step = self.stepper.prepare(event, self.time.now_ms());
        self.storing.begin(step, reply, right);
    }

    /// Completes a step whose record is stored: hands over its effects, then answers the caller.
    pub(super) fn complete(&mut self, record: RecordOf<M>, reply: Option<Reply<M>>) {
        self.unpublished = true;
        if let FirstEvent::Storing = self.first_event {
            self.first_event = FirstEvent::Over;
            self.runner_woken = true;
        }
        // Cancel the operation: the event may come from elsewhere, and the effect's own handler may still run
        // and delay the next effect.
        if let Some(op) = M::completes(&record.event) {
            self.runner.cancel(op, self.config.cancel_grace);
        }
        let mut replies = Vec::new();
        for (op, effect) in record.effects {
            self.runner_woken = true;
            if M::is_reply(&effect) {
                replies.push(effect);
            } else if let Some(target) = M::cancels(&effect) {
                self.runner.cancel(target, self.config.cancel_grace);
            } else {
                self.runner.push(op, effect);
            }
        }
        if let Some(reply) = reply {
            self.publish();
            // If the caller has gone away, nobody needs the answer.
            drop(reply.send(Ok(Answer {
                seq: record.seq,
                replies,
            })));
        }
    }

    fn publish(&mut self) {
        if self.unpublished {
            self.unpublished = false;
            let mut core = self.shared.lock();
            self.shared.publish(&mut core, self.stepper.state());
        }
    }
}
