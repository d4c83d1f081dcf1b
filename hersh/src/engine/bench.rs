//! An engine on the bench: for the tests of transitions.

use hersh_machine::{Machine, OpId, StepContext};

use super::*;
use crate::{EndKind, Ending, Recovery};

/// An engine with its clock and the effects of its last step.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) now_ms: u64,
    next_op: u64,
    pub(super) effects: Vec<(OpId, Effect)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let policy = Policy {
            run_timeout_ms: 60_000,
            save_timeout_ms: 30_000,
            cleanup_timeout_ms: 300_000,
            stop_grace_ms: 5_000,
            recovery: Recovery::default(),
        };
        Self {
            state: State::new(policy),
            now_ms: 1_000_000,
            next_op: 1,
            effects: Vec::new(),
        }
    }

    /// Returns an engine whose first run succeeded.
    pub(super) fn ready() -> Self {
        let mut bench = Self::new();
        bench.step(Event::Started);
        bench.succeed(false);
        bench
    }

    pub(super) fn step(&mut self, event: Event) -> &mut Self {
        let mut cx = StepContext::new(self.now_ms, self.next_op);
        self.state = Engine::reduce(self.state.clone(), event, &mut cx);
        (self.effects, self.next_op) = cx.finish();
        assert_eq!(Engine::invariants(&self.state), Ok(()));
        self
    }

    /// Returns the operation in progress.
    pub(super) fn op(&self) -> OpId {
        match &self.state.phase {
            Phase::Running { op, .. } | Phase::Saving { op, .. } | Phase::Cleaning { op, .. } => {
                *op
            }
            Phase::NotRun | Phase::Ready | Phase::Delay { .. } | Phase::Ended { .. } => {
                panic!("nothing is in progress in {:?}", self.state.phase)
            }
        }
    }

    pub(super) fn end_run(&mut self, outcome: Outcome) -> &mut Self {
        let op = self.op();
        self.step(Event::RunEnded { op, outcome })
    }

    pub(super) fn succeed(&mut self, changed: bool) -> &mut Self {
        let again = false;
        self.end_run(Outcome::Succeeded { changed, again })
    }

    pub(super) fn fail(&mut self) -> &mut Self {
        let (reason, blame) = ("no".into(), Blame::Run);
        self.end_run(Outcome::Failed { reason, blame })
    }

    pub(super) fn ask(&mut self, kind: EndKind) -> &mut Self {
        let ending = Ending::new(kind, "asked");
        self.step(Event::EndAsked { ending })
    }

    /// Lets time pass to the next thing that time alone causes.
    pub(super) fn wait(&mut self) -> &mut Self {
        let (at_ms, event) = Engine::wake(&self.state).unwrap();
        self.now_ms = at_ms;
        self.step(event)
    }

    /// Returns the last step's effects without their ids and without notes.
    pub(super) fn asks(&self) -> Vec<Effect> {
        let effects = self.effects.iter().map(|(_, effect)| effect.clone());
        effects
            .filter(|effect| !matches!(effect, Effect::Note(_)))
            .collect()
    }
}
