//! The parts of a machine: state, events, effects, and the record of one step.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::OpId;

/// The queue that an event waits in. `Control` is emptied before `User`, `User` before `Data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Events about the state machine's own operations.
    Control,
    /// Commands of a person or a client.
    User,
    /// Observations that can wait.
    Data,
}

/// A deterministic state machine. Nothing here reads a clock, draws a random number or does IO.
pub trait Machine: Sized {
    /// Everything that the state machine knows.
    type State: Clone;
    /// The events that the state machine takes in.
    type Event: Clone;
    /// The requests that the state machine can make, as complete data.
    type Effect: Clone;

    /// Returns the lane in which `event` waits for its turn.
    fn lane(event: &Self::Event) -> Lane;

    /// Returns the operation that `event` ends, if the event is the outcome of one. A passed deadline is no
    /// outcome: a reducer that gives an operation up must cancel it.
    fn completes(event: &Self::Event) -> Option<OpId>;

    /// Returns the operation that `effect` aborts, if the effect is a cancellation.
    fn cancels(effect: &Self::Effect) -> Option<OpId>;

    /// Returns whether `effect` is an answer to the sender of the event. Such an effect goes to the caller
    /// and never to a handler.
    fn is_reply(effect: &Self::Effect) -> bool {
        let _ = effect;
        false
    }

    /// Returns the event that time alone will cause in `state`, and its time (milliseconds since the Unix
    /// epoch). Deadlines of open operations are expressed only here. Once the event is taken in, `wake` must
    /// return a later time or `None`; otherwise the same event would be due again at once.
    fn wake(state: &Self::State) -> Option<(u64, Self::Event)>;

    /// Returns whether no further event can change `state`: the state machine's life is over.
    fn is_terminal(state: &Self::State) -> bool;

    /// Takes one event in. The function is total: every pair of state and event has a defined outcome.
    fn reduce(
        state: Self::State,
        event: Self::Event,
        cx: &mut StepContext<Self::Effect>,
    ) -> Self::State;

    /// Checks the conditions that every reachable state must meet.
    ///
    /// # Errors
    /// A sentence that names the broken invariant.
    fn invariants(state: &Self::State) -> Result<(), String>;
}

/// The input of a reducer besides state and event: the time. It also collects the reducer's effects.
#[derive(Debug)]
pub struct StepContext<E> {
    now_ms: u64,
    next_op: u64,
    effects: Vec<(OpId, E)>,
}

impl<E> StepContext<E> {
    /// Returns a context for one step at `now_ms` that gives out ids from `next_op` on.
    #[must_use]
    pub fn new(now_ms: u64, next_op: u64) -> Self {
        Self::reusing(now_ms, next_op, Vec::new())
    }

    /// Works like [`StepContext::new`], and reuses the memory of an earlier step's effects.
    #[must_use]
    pub fn reusing(now_ms: u64, next_op: u64, mut effects: Vec<(OpId, E)>) -> Self {
        effects.clear();
        Self {
            now_ms,
            next_op,
            effects,
        }
    }

    /// Returns the time, milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Requests `effect`. The returned id names the operation until it ends.
    pub fn emit(&mut self, effect: E) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        if self.effects.capacity() == 0 {
            // Most steps request one or two effects.
            self.effects = Vec::with_capacity(2);
        }
        self.effects.push((op, effect));
        op
    }

    /// Returns the requested effects, in order, and the next id to give out.
    #[must_use]
    pub fn finish(self) -> (Vec<(OpId, E)>, u64) {
        (self.effects, self.next_op)
    }
}

/// One event as the journal stores it. Folding the records rebuilds the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<Ev, Ef> {
    /// The record's number: 1 for the first record of a state machine, then without gaps.
    pub seq: u64,
    /// The time that the reducer saw, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The event that was taken in.
    pub event: Ev,
    /// The effects that the state machine requested for it, each with its operation id.
    pub effects: Vec<(OpId, Ef)>,
}

/// The record of one step of state machine `M`.
pub type RecordOf<M> = Record<<M as Machine>::Event, <M as Machine>::Effect>;
