//! The pure half of every driver: it takes events in, one at a time, and keeps the books.
//!
//! ```text
//! event ──► prepare(now) ──► Step { record, next state } ──durable──► commit ──► effects to run
//!           (nothing changed yet)                                     (state, open operations)
//! ```
//! [`Stepper::step`] is both at once for those who keep no journal. [`crate::replay`] turns the
//! same crank on stored records.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Cx, Machine, OpId, Record, step::RecordOf};

/// An operation that was asked for and has not been seen to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOp<E> {
    /// Its id.
    pub op: OpId,
    /// What was asked for.
    pub effect: E,
    /// When, in milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
}

/// Everything a stepper knows, as data: what a journal may store to start a fold from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<S, E> {
    /// The machine's state.
    pub state: S,
    /// The number of the last record taken in; 0 before the first.
    pub seq: u64,
    /// The next operation id to mint.
    pub next_op: u64,
    /// The time of the last record, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Operations that have not ended, oldest first.
    pub open: Vec<OpenOp<E>>,
}

/// One step that is computed and not yet taken.
pub struct Step<M: Machine> {
    /// What the journal stores.
    pub record: RecordOf<M>,
    state: M::State,
    next_op: u64,
}

/// State, operation ids and open operations of one machine.
pub struct Stepper<M: Machine> {
    // `None` only while a reducer runs: it takes the state by value.
    state: Option<M::State>,
    /// Which operations are open, oldest first.
    ids: Vec<OpId>,
    /// The same with all that a recovery needs; empty once [`Stepper::keep_ids_only`] was called.
    open: Vec<OpenOp<M::Effect>>,
    keeps_effects: bool,
    seq: u64,
    next_op: u64,
    now_ms: u64,
}

impl<M: Machine> Stepper<M> {
    /// A machine at the start of its life.
    #[must_use]
    pub fn new(state: impl Into<M::State>) -> Self {
        Self {
            state: Some(state.into()),
            ids: Vec::new(),
            open: Vec::new(),
            keeps_effects: true,
            seq: 0,
            next_op: 1,
            now_ms: 0,
        }
    }

    /// A machine as it was when `snapshot` was taken.
    #[must_use]
    pub fn from_snapshot(snapshot: Snapshot<M::State, M::Effect>) -> Self {
        Self {
            state: Some(snapshot.state),
            ids: snapshot.open.iter().map(|open| open.op).collect(),
            open: snapshot.open,
            keeps_effects: true,
            seq: snapshot.seq,
            next_op: snapshot.next_op,
            now_ms: snapshot.now_ms,
        }
    }

    /// What [`Stepper::from_snapshot`] needs to go on from here.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<M::State, M::Effect> {
        Snapshot {
            state: self.state().clone(),
            seq: self.seq,
            next_op: self.next_op,
            now_ms: self.now_ms,
            open: self.open.clone(),
        }
    }

    /// The machine's state.
    ///
    /// # Panics
    /// When an earlier reducer panicked: nothing true can be said any more.
    #[must_use]
    pub fn state(&self) -> &M::State {
        match &self.state {
            Some(state) => state,
            None => unreachable!("a reducer panicked and took the state with it"),
        }
    }

    /// The number of the last record taken in; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The time of the last record taken in, milliseconds since the Unix epoch; 0 before the first.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Operations that have not ended, oldest first. A cancelled operation is not among them:
    /// whatever it still reports is stale.
    #[must_use]
    pub fn open(&self) -> &[OpenOp<M::Effect>] {
        &self.open
    }

    /// True when `event` is the outcome of an operation that is not open: it ended, was
    /// cancelled, or never was. Such an event changes nothing and leaves no record.
    #[must_use]
    pub fn is_stale(&self, event: &M::Event) -> bool {
        M::completes(event).is_some_and(|op| !self.ids.contains(&op))
    }

    /// The event that is due at `now_ms` by [`Machine::wake`].
    #[must_use]
    pub fn due(&self, now_ms: u64) -> Option<M::Event> {
        M::wake(self.state()).and_then(|(at_ms, event)| (at_ms <= now_ms).then_some(event))
    }

    /// Computes the step that `event` causes; nothing changes before [`Stepper::commit`]. Time
    /// never goes backwards: a `now_ms` before that of the last record counts as that one.
    #[must_use]
    pub fn prepare(&self, event: M::Event, now_ms: u64) -> Step<M> {
        let now_ms = now_ms.max(self.now_ms);
        let mut cx = Cx::new(now_ms, self.next_op);
        let state = M::reduce(self.state().clone(), event.clone(), &mut cx);
        let (effects, next_op) = cx.finish();
        let record = Record {
            seq: self.seq + 1,
            now_ms,
            event,
            effects,
        };
        Step {
            record,
            state,
            next_op,
        }
    }

    /// Takes a prepared step and hands out its record.
    pub fn commit(&mut self, step: Step<M>) -> RecordOf<M> {
        self.state = Some(step.state);
        self.seq = step.record.seq;
        self.now_ms = step.record.now_ms;
        self.next_op = step.next_op;
        self.settle(M::completes(&step.record.event), &step.record.effects);
        step.record
    }

    /// Takes `event` in. `None` when it is stale.
    pub fn step(&mut self, event: M::Event, now_ms: u64) -> Option<RecordOf<M>> {
        if self.is_stale(&event) {
            return None;
        }
        Some(self.step_fresh(event, now_ms))
    }

    /// Takes `event` in without asking whether it is stale: for events of [`Stepper::due`].
    pub fn step_fresh(&mut self, event: M::Event, now_ms: u64) -> RecordOf<M> {
        let mut effects = Vec::new();
        self.advance(event.clone(), now_ms, &mut effects);
        Record {
            seq: self.seq,
            now_ms: self.now_ms,
            event,
            effects,
        }
    }

    /// Like [`Stepper::step_fresh`], for those who keep no record: replaces what is in `effects`.
    pub(crate) fn advance(
        &mut self,
        event: M::Event,
        now_ms: u64,
        effects: &mut Vec<(OpId, M::Effect)>,
    ) {
        let Some(state) = self.state.take() else {
            unreachable!("a reducer panicked and took the state with it")
        };
        let completed = M::completes(&event);
        self.now_ms = now_ms.max(self.now_ms);
        let mut cx = Cx::reusing(self.now_ms, self.next_op, core::mem::take(effects));
        self.state = Some(M::reduce(state, event, &mut cx));
        (*effects, self.next_op) = cx.finish();
        self.seq += 1;
        self.settle(completed, effects);
    }

    /// Forgets what a recovery needs of open operations, for a driver that has begun its own.
    #[cfg(feature = "tokio")]
    pub(crate) fn keep_ids_only(&mut self) -> Vec<OpenOp<M::Effect>> {
        self.keeps_effects = false;
        core::mem::take(&mut self.open)
    }

    /// Frees what only a busy machine needs.
    pub fn shrink(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }

    fn settle(&mut self, completed: Option<OpId>, effects: &[(OpId, M::Effect)]) {
        if let Some(op) = completed {
            self.close(op);
        }
        for (op, effect) in effects {
            if let Some(target) = M::cancels(effect) {
                self.close(target);
            } else if !M::is_reply(effect) {
                self.ids.push(*op);
                if self.keeps_effects {
                    self.open.push(OpenOp {
                        op: *op,
                        effect: effect.clone(),
                        issued_at_ms: self.now_ms,
                    });
                }
            }
        }
    }

    fn close(&mut self, op: OpId) {
        self.ids.retain(|open| *open != op);
        self.open.retain(|open| open.op != op);
    }
}
