//! The shape of a machine: state, events, effects, and the record of one step.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::OpId;

/// Which queue an event waits in. `Control` is emptied before `User`, `User` before `Data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What happened to the machine's own operations.
    Control,
    /// What a person or a client asked for.
    User,
    /// Observations that may wait.
    Data,
}

/// A deterministic state machine. Nothing here reads a clock, draws a random number or does IO.
pub trait Machine: Sized {
    /// The whole of what the machine knows.
    type State: Clone;
    /// What can happen to it.
    type Event: Clone;
    /// What it can ask of the world, as complete data.
    type Effect: Clone;

    /// The lane in which `event` waits for its turn.
    fn lane(event: &Self::Event) -> Lane;

    /// The operation that `event` ends, if it is the outcome of one. A deadline is no outcome:
    /// a reducer that gives up on an operation cancels it.
    fn completes(event: &Self::Event) -> Option<OpId>;

    /// The operation that `effect` aborts, if it is a cancellation.
    fn cancels(effect: &Self::Effect) -> Option<OpId>;

    /// True when `effect` is an answer to the one who sent the event: it is handed to the caller
    /// and never to a handler.
    fn is_reply(effect: &Self::Effect) -> bool {
        let _ = effect;
        false
    }

    /// The event that time alone will cause in `state`, and when (milliseconds since the Unix
    /// epoch). Deadlines of open operations are expressed here and nowhere else. Taking the event
    /// in must move the time on or leave `None`.
    fn wake(state: &Self::State) -> Option<(u64, Self::Event)>;

    /// True when no further event can change `state`: the machine's life is over.
    fn is_terminal(state: &Self::State) -> bool;

    /// Takes one event in. Total: every (state, event) pair has a decided outcome.
    fn reduce(state: Self::State, event: Self::Event, cx: &mut Cx<Self::Effect>) -> Self::State;

    /// What must hold of every reachable state.
    ///
    /// # Errors
    /// A sentence that names the broken invariant.
    fn invariants(state: &Self::State) -> Result<(), String>;
}

/// What a reducer may use besides state and event: the time, and a place for its effects.
#[derive(Debug)]
pub struct Cx<E> {
    now_ms: u64,
    next_op: u64,
    effects: Vec<(OpId, E)>,
}

impl<E> Cx<E> {
    /// A context for one step at `now_ms`, minting ids from `next_op`.
    #[must_use]
    pub fn new(now_ms: u64, next_op: u64) -> Self {
        Self::reusing(now_ms, next_op, Vec::new())
    }

    /// Like [`Cx::new`], with the memory of an earlier step's effects.
    #[must_use]
    pub fn reusing(now_ms: u64, next_op: u64, mut effects: Vec<(OpId, E)>) -> Self {
        effects.clear();
        Self {
            now_ms,
            next_op,
            effects,
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Asks for `effect`; the id returned names the operation until it ends.
    pub fn emit(&mut self, effect: E) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        if self.effects.capacity() == 0 {
            // Most steps ask for one or two things.
            self.effects = Vec::with_capacity(2);
        }
        self.effects.push((op, effect));
        op
    }

    /// The effects asked for, in order, and the next id to mint.
    #[must_use]
    pub fn finish(self) -> (Vec<(OpId, E)>, u64) {
        (self.effects, self.next_op)
    }
}

/// One consumed event as the journal stores it: folding the records rebuilds the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<Ev, Ef> {
    /// 1 for the first record of a machine, then without gaps.
    pub seq: u64,
    /// The time that the reducer saw, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// What happened.
    pub event: Ev,
    /// What it made the machine ask for.
    pub effects: Vec<(OpId, Ef)>,
}

/// The record of one step of machine `M`.
pub type RecordOf<M> = Record<<M as Machine>::Event, <M as Machine>::Effect>;
