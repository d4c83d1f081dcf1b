//! The pure half of every driver: it takes events in, one at a time, and keeps track of the open operations.
//!
//! ```text
//! event ──► prepare(now) ──► Step { record, next state } ──durable──► commit ──► effects to run
//!           (nothing changed yet)                                     (state, open operations)
//! ```
//! [`Stepper::step`] does both at once, for callers without a journal. [`crate::replay`] applies the same
//! steps to stored records.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Machine, OpId, Record, StepContext, step::RecordOf};

/// An operation that was requested and whose end has not been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOperation<E> {
    /// The operation's id.
    pub op: OpId,
    /// The effect that was requested.
    pub effect: E,
    /// The time of the request, in milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
}

/// Everything that a stepper knows, as data. A journal may store it, so that a fold can start from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<S, E> {
    /// The state machine's state.
    pub state: S,
    /// The number of the last record taken in; 0 before the first.
    pub seq: u64,
    /// The next operation id to give out.
    pub next_op: u64,
    /// The time of the last record, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Operations that have not ended, oldest first.
    pub open: Vec<OpenOperation<E>>,
}

/// One step that is computed but not yet taken.
pub struct Step<M: Machine> {
    /// The record that the journal stores.
    pub record: RecordOf<M>,
    state: M::State,
    next_op: u64,
}

/// State, operation ids and open operations of one state machine.
pub struct Stepper<M: Machine> {
    state: M::State,
    /// The ids of the open operations, oldest first.
    ids: Vec<OpId>,
    /// The open operations with all data for a recovery; empty once [`Stepper::keep_ids_only`] was called.
    open: Vec<OpenOperation<M::Effect>>,
    keeps_effects: bool,
    seq: u64,
    next_op: u64,
    now_ms: u64,
}

impl<M: Machine> Stepper<M> {
    /// Returns a stepper for a state machine at the start of its life.
    #[must_use]
    pub fn new(state: impl Into<M::State>) -> Self {
        Self {
            state: state.into(),
            ids: Vec::new(),
            open: Vec::new(),
            keeps_effects: true,
            seq: 0,
            next_op: 1,
            now_ms: 0,
        }
    }

    /// Returns a stepper for a state machine as it was when `snapshot` was taken.
    #[must_use]
    pub fn from_snapshot(snapshot: Snapshot<M::State, M::Effect>) -> Self {
        Self {
            state: snapshot.state,
            ids: snapshot.open.iter().map(|open| open.op).collect(),
            open: snapshot.open,
            keeps_effects: true,
            seq: snapshot.seq,
            next_op: snapshot.next_op,
            now_ms: snapshot.now_ms,
        }
    }

    /// Returns the data from which [`Stepper::from_snapshot`] goes on.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<M::State, M::Effect> {
        Snapshot {
            state: self.state.clone(),
            seq: self.seq,
            next_op: self.next_op,
            now_ms: self.now_ms,
            open: self.open.clone(),
        }
    }

    /// Returns the state machine's state.
    #[must_use]
    pub fn state(&self) -> &M::State {
        &self.state
    }

    /// Returns the number of the last record taken in; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns the time of the last record taken in, milliseconds since the Unix epoch; 0 before the first.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Returns the operations that have not ended, oldest first. A cancelled operation is not among them: its
    /// later reports are stale.
    #[must_use]
    pub fn open(&self) -> &[OpenOperation<M::Effect>] {
        &self.open
    }

    /// Returns whether `event` is the outcome of an operation that is not open: the operation ended, was
    /// cancelled, or never existed. Such an event changes nothing and leaves no record.
    #[must_use]
    pub fn is_stale(&self, event: &M::Event) -> bool {
        M::completes(event).is_some_and(|op| !self.ids.contains(&op))
    }

    /// Returns the event that is due at `now_ms` by [`Machine::wake`].
    #[must_use]
    pub fn due(&self, now_ms: u64) -> Option<M::Event> {
        M::wake(&self.state).and_then(|(at_ms, event)| (at_ms <= now_ms).then_some(event))
    }

    /// Computes the step that `event` causes; nothing changes before [`Stepper::commit`]. Time never goes
    /// backwards: if `now_ms` is before the time of the last record, that time counts instead.
    #[must_use]
    pub fn prepare(&self, event: M::Event, now_ms: u64) -> Step<M> {
        let now_ms = now_ms.max(self.now_ms);
        let mut cx = StepContext::new(now_ms, self.next_op);
        let state = M::reduce(self.state.clone(), event.clone(), &mut cx);
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

    /// Takes a prepared step and returns its record.
    pub fn commit(&mut self, step: Step<M>) -> RecordOf<M> {
        self.state = step.state;
        self.seq = step.record.seq;
        self.now_ms = step.record.now_ms;
        self.next_op = step.next_op;
        self.update_open(M::completes(&step.record.event), &step.record.effects);
        step.record
    }

    /// Takes `event` in and returns its record. Returns `None` when the event is stale.
    pub fn step(&mut self, event: M::Event, now_ms: u64) -> Option<RecordOf<M>> {
        if self.is_stale(&event) {
            return None;
        }
        Some(self.step_unchecked(event, now_ms))
    }

    /// Takes `event` in without a check whether it is stale: for events of [`Stepper::due`].
    pub fn step_unchecked(&mut self, event: M::Event, now_ms: u64) -> RecordOf<M> {
        let step = self.prepare(event, now_ms);
        self.commit(step)
    }

    /// Removes and returns the recovery data of open operations, for a driver that recovers them itself. Only
    /// their ids are kept.
    #[cfg(feature = "tokio")]
    pub(crate) fn keep_ids_only(&mut self) -> Vec<OpenOperation<M::Effect>> {
        self.keeps_effects = false;
        core::mem::take(&mut self.open)
    }

    fn update_open(&mut self, completed: Option<OpId>, effects: &[(OpId, M::Effect)]) {
        if let Some(op) = completed {
            self.close(op);
        }
        for (op, effect) in effects {
            if let Some(target) = M::cancels(effect) {
                self.close(target);
            } else if !M::is_reply(effect) {
                self.ids.push(*op);
                if self.keeps_effects {
                    self.open.push(OpenOperation {
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
