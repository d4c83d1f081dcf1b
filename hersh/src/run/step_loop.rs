//! The engine's state, and how events reach the engine.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hersh_machine::{Machine, OpId, StepContext};
use tokio::time::Instant;

use crate::base::clock::epoch_ms;
use crate::engine::{Effect, Engine, Event, Phase, Policy, State};
use crate::shared::Shared;
use crate::{EndKind, Ending};

/// Most runs, and most milliseconds of runs, before tokio's timers and tasks get their
/// turn: a flood of messages must not hold up the sources of variables.
const RUNS_PER_TURN: u32 = 64;
const TURN_MS: u64 = 1;
/// How long the engine spins after a run, looking for the next signal, before it lets its thread
/// sleep. Waking a thread costs ten times what a check does, and signals tend to follow each other.
const SPIN_TIME: Duration = Duration::from_micros(50);
/// The longest time between two looks at whether a durable timer is due.
const TIMER_LOOK: Duration = Duration::from_secs(30);
/// Checks of the inbox between two turns of timers and tasks; together they take about a
/// microsecond.
const CHECKS_PER_YIELD: u32 = 20;
/// Yields to this thread's tasks after which another thread may use this processor: that thread
/// may be the one that will send the signal.
const YIELDS_PER_THREAD_YIELD: u32 = 4;

/// The engine's state with the effects that it asked for; takes events in, one at a time.
pub(crate) struct StepLoop {
    state: State,
    next_op: u64,
    effects: VecDeque<(OpId, Effect)>,
    /// Memory of an earlier step's effects, kept to be used again.
    spare: Vec<(OpId, Effect)>,
    /// The operation that the last step aborted, and the cause.
    aborted: Option<(OpId, AbortCause)>,
    /// Runs since timers and tasks last had their turn, and when that turn began.
    runs_in_turn: u32,
    turn_began_ms: u64,
    stepped_at: Instant,
    stepped_at_ms: u64,
    /// The wall time that was read last, and the instant of that reading. Within a turn, wall time
    /// is this reading plus the instants since then, so that a run reads only one clock.
    wall: (SystemTime, Instant),
    /// True when a run has begun since the engine last spun.
    ran_since_spin: bool,
    /// True when spinning saves time, which it never does on a single processor.
    spins: bool,
    /// When the end was asked for, or began by itself.
    ending_since: Option<Instant>,
    /// When the first durable timer is due, milliseconds since the Unix epoch, wall time; `None` once that is
    /// told.
    timer_due_ms: Cell<Option<u64>>,
    pub(super) shared: Arc<Shared>,
}

/// Why an operation was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AbortCause {
    /// The operation did not end in time.
    Late,
    /// The watcher ends.
    End,
}

impl StepLoop {
    /// Returns the step loop of an engine that has not started.
    pub(crate) fn new(shared: Arc<Shared>, policy: Policy) -> Self {
        shared.heartbeat.set_run_timeout(policy.run_timeout_ms);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            state: State::new(policy),
            next_op: 1,
            effects: VecDeque::new(),
            spare: Vec::new(),
            aborted: None,
            runs_in_turn: 0,
            turn_began_ms: 0,
            stepped_at: Instant::now(),
            stepped_at_ms: 0,
            wall: (shared.clock.wall(), Instant::now()),
            ran_since_spin: false,
            spins: processors > 1 && !shared.clock.is_virtual(),
            ending_since: None,
            timer_due_ms: Cell::new(None),
            shared,
        }
    }

    /// Returns when the last step was.
    pub(crate) fn stepped_at(&self) -> Instant {
        self.stepped_at
    }

    /// Returns the wall time at the last step.
    pub(crate) fn wall(&self) -> SystemTime {
        let (wall, read_at) = self.wall;
        wall + self.stepped_at.saturating_duration_since(read_at)
    }

    /// Returns why an operation was aborted, if it was.
    pub(crate) fn abort_of(&self, op: OpId) -> Option<AbortCause> {
        let aborted = self.aborted.filter(|(aborted, _)| *aborted == op);
        aborted.map(|(_, cause)| cause)
    }

    /// Removes and returns the next effect to carry out.
    pub(crate) fn pop_effect(&mut self) -> Option<(OpId, Effect)> {
        self.effects.pop_front()
    }

    /// Returns how the watcher ended, if it has.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        match &self.state.phase {
            Phase::Ended { ending } => Some(ending),
            Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Cleaning { .. } => None,
        }
    }

    /// Returns whether the watcher is to end at once.
    pub(super) fn ends_at_once(&self) -> bool {
        match &self.state.phase {
            Phase::Cleaning { ending, .. } | Phase::Ended { ending } => {
                ending.kind == EndKind::Killed
            }
            Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. } => false,
        }
    }

    /// Returns whether the watcher ends because it cannot go on.
    pub(super) fn crashes(&self) -> bool {
        match &self.state.phase {
            Phase::Cleaning { ending, .. } | Phase::Ended { ending } => {
                ending.kind == EndKind::Crashed
            }
            Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. } => false,
        }
    }

    /// Returns when what is acted on must have ended: as long after the end was asked for, or began, as a run has.
    pub(super) fn grace_over(&self) -> Instant {
        if self.ends_at_once() {
            return self.stepped_at;
        }
        let grace = Duration::from_millis(self.state.policy.stop_grace_ms);
        let since = self.ending_since.unwrap_or(self.stepped_at);
        since.checked_add(grace).unwrap_or(since)
    }

    /// Waits until somebody asks to kill a watcher that is over but for its effects.
    pub(super) async fn killed(&self) {
        loop {
            match self.shared.inbox.take_event() {
                Some(Event::EndAsked { ending }) if ending.kind == EndKind::Killed => return,
                // Nobody takes anything else in any more.
                Some(_) => {}
                None => self.shared.inbox.arrival().await,
            }
        }
    }

    /// Lets timers and tasks of this thread run if their last turn was long ago.
    pub(crate) async fn yield_if_due(&mut self) {
        self.ran_since_spin = true;
        self.runs_in_turn += 1;
        let elapsed_ms = self.stepped_at_ms.saturating_sub(self.turn_began_ms);
        if self.runs_in_turn >= RUNS_PER_TURN || elapsed_ms > TURN_MS {
            tokio::task::yield_now().await;
            self.begin_turn();
        }
    }

    fn begin_turn(&mut self) {
        let now = Instant::now();
        self.runs_in_turn = 0;
        self.turn_began_ms = self.shared.clock.ms_at(now);
        self.shared.heartbeat.begin_turn(self.turn_began_ms);
        self.wall = (self.shared.clock.wall(), now);
    }

    /// Returns what has come in already, if anything has.
    pub(crate) fn arrived(&self) -> Option<Event> {
        self.shared.inbox.take_event()
    }

    /// Spins for a moment until the next signal, if a run has begun since it last did so.
    /// Timers and tasks get their turns meanwhile.
    pub(crate) async fn spin_before_park(&mut self) {
        if !std::mem::take(&mut self.ran_since_spin) || !self.spins {
            return;
        }
        let began = std::time::Instant::now();
        let mut yields = 0_u32;
        while began.elapsed() < SPIN_TIME {
            // This thread's own tasks go first: they may have the next signal.
            tokio::task::yield_now().await;
            for _ in 0..CHECKS_PER_YIELD {
                if self.shared.inbox.has_news() {
                    return;
                }
                std::hint::spin_loop();
            }
            yields += 1;
            if yields.is_multiple_of(YIELDS_PER_THREAD_YIELD) {
                std::thread::yield_now();
            }
        }
    }

    /// Returns the next event while no operation is in progress.
    pub(crate) async fn next_when_idle(&mut self) -> Event {
        let event = self.next().await;
        self.begin_turn();
        event
    }

    /// Returns the next event: an arrival, or the passing of time.
    pub(crate) async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.shared.inbox.take_event() {
                return event;
            }
            let arrival = self.shared.inbox.arrival();
            if self.timer_has_come() {
                return Event::VariablesChanged;
            }
            let wake = Engine::wake(&self.state);
            let due_ms = wake.as_ref().map(|(at_ms, _)| *at_ms);
            self.shared.heartbeat.begin_wait(due_ms);
            let timer = self.timer_sleep();
            match wake {
                None => {
                    tokio::select! {
                        biased;
                        () = arrival => {}
                        () = timer => {}
                    }
                }
                Some((at_ms, event)) => {
                    tokio::select! {
                        biased;
                        () = arrival => {}
                        () = tokio::time::sleep_until(self.shared.clock.instant_at(at_ms)) => {
                            return event;
                        }
                        () = timer => {}
                    }
                }
            }
        }
    }

    /// Sets when the first durable timer is due, if one is set. The next run takes in all that are due then.
    pub(super) fn set_timer(&self, due_ms: Option<u64>) {
        self.timer_due_ms.set(due_ms);
    }

    /// Returns whether a timer has come, once for each time that one is set.
    fn timer_has_come(&self) -> bool {
        let due_ms = self.timer_due_ms.get();
        let has_come = due_ms.is_some_and(|due_ms| epoch_ms(self.shared.clock.wall()) >= due_ms);
        if has_come {
            self.timer_due_ms.set(None);
        }
        has_come
    }

    /// Waits for the timer, in short stretches: it follows wall time, which somebody may set, and which goes on
    /// while a machine is suspended.
    async fn timer_sleep(&self) {
        let Some(due_ms) = self.timer_due_ms.get() else {
            return std::future::pending().await;
        };
        let left_ms = due_ms.saturating_sub(epoch_ms(self.shared.clock.wall()));
        tokio::time::sleep(Duration::from_millis(left_ms).min(TIMER_LOOK)).await;
    }

    /// Shows that the operation in progress awaits something, if it is a run: the last step began
    /// it.
    pub(super) fn show_awaiting_run(&self) {
        if matches!(self.state.phase, Phase::Running { .. }) {
            self.shared
                .heartbeat
                .set_awaiting_run(Some(self.stepped_at_ms));
        }
    }

    /// Takes one event in.
    pub(crate) fn step(&mut self, event: Event) {
        self.stepped_at = Instant::now();
        self.stepped_at_ms = self.shared.clock.ms_at(self.stepped_at);
        self.shared.heartbeat.begin_turn(self.stepped_at_ms);
        let asks = matches!(event, Event::EndAsked { .. });
        let cause = match (&event, &self.state.phase) {
            (Event::DeadlinePassed { .. }, Phase::Running { asked: None, .. }) => AbortCause::Late,
            (_, _) => AbortCause::End,
        };
        let effects = std::mem::take(&mut self.spare);
        let mut cx = StepContext::reusing(self.stepped_at_ms, self.next_op, effects);
        let policy = self.state.policy;
        let state = std::mem::replace(&mut self.state, State::new(policy));
        self.state = Engine::reduce(state, event, &mut cx);
        (self.spare, self.next_op) = cx.finish();
        for (op, effect) in self.spare.drain(..) {
            if let Some(aborted) = Engine::cancels(&effect) {
                self.aborted = Some((aborted, cause));
            }
            self.effects.push_back((op, effect));
        }
        if asks || matches!(self.state.phase, Phase::Cleaning { .. }) {
            self.ending_since.get_or_insert(self.stepped_at);
        }
        debug_assert_eq!(Engine::invariants(&self.state), Ok(()));
        let (state, failures) = (self.state.public(), self.state.failures);
        self.shared.publish(state, failures, self.stepped_at_ms);
    }
}
