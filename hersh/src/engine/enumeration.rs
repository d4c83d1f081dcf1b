//! Every short sequence of events, checked against a small model of what a watcher owes.

use std::collections::HashSet;

use hersh_machine::{Machine, OpId, StepContext};

use super::*;
use crate::{EndKind, Ending, Recovery};

/// Longest sequence that is enumerated.
const LENGTH: usize = 10;
/// An id of no operation: completions and deadlines that name it are stale.
const STALE: OpId = OpId(0);

/// What the world around an engine can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    next_op: u64,
    open: Option<OpId>,
    arrived: u64,
    settled: u64,
    runs: u64,
    /// Messages that began their first run.
    taken_in: u64,
    /// Runs with a settlement that succeeded.
    taken: u64,
    /// Messages that had a run that succeeded, or were set aside.
    served: u64,
    /// What the last run carried, if it did not succeed yet.
    carries: CarriedSignal,
    cleanups: u64,
    ends: u64,
}

fn policy() -> Policy {
    Policy {
        run_timeout_ms: 100,
        save_timeout_ms: 200,
        cleanup_timeout_ms: 300,
        stop_grace_ms: 10,
        recovery: Recovery {
            min_consecutive_failures: 2,
            max_consecutive_failures: 3,
            ..Recovery::default()
        },
    }
}

fn alphabet(op: OpId) -> Vec<Event> {
    let end = |kind| Ending::new(kind, "asked");
    let ran = |outcome| Event::RunEnded { op, outcome };
    let succeeded = |changed, again| ran(Outcome::Succeeded { changed, again });
    let steered = |kind, changed| {
        let ending = end(kind);
        ran(Outcome::Steered { ending, changed })
    };
    let failed = |blame| {
        let reason = "failed".into();
        ran(Outcome::Failed { reason, blame })
    };
    let saved = |result| Event::Saved { op, result };
    let cleaned = |result| Event::CleanupEnded { op, result };
    vec![
        succeeded(false, false),
        succeeded(true, false),
        succeeded(true, true),
        steered(EndKind::Stopped, true),
        steered(EndKind::Killed, false),
        steered(EndKind::Crashed, false),
        failed(Blame::Run),
        failed(Blame::SetUp),
        failed(Blame::Message),
        saved(Ok(())),
        saved(Err("full".into())),
        cleaned(Ok(false)),
        cleaned(Ok(true)),
        cleaned(Err("broken".into())),
        Event::DeadlinePassed { op },
    ]
}

fn others() -> Vec<Event> {
    let asked = |kind| Event::EndAsked {
        ending: Ending::new(kind, "asked"),
    };
    vec![
        Event::Started,
        asked(EndKind::Stopped),
        asked(EndKind::Killed),
        Event::RetryDue,
        Event::MessagesArrived { count: 2 },
        Event::EffectsSettled { count: 1 },
        Event::VariablesChanged,
    ]
}

/// Takes one step and checks it against what the world knows.
fn step(state: &State, world: &World, event: &Event) -> (State, World) {
    let mut world = world.clone();
    if let Event::MessagesArrived { count } = event {
        world.arrived += count;
    }
    if let Event::EffectsSettled { count } = event {
        world.settled += count;
    }
    if commits(state, event) {
        match std::mem::take(&mut world.carries) {
            CarriedSignal::Nothing => {}
            CarriedSignal::Message => world.served += 1,
            CarriedSignal::Settlement => world.taken += 1,
        }
    }
    if is_outcome(state, event) && Engine::completes(event) == world.open {
        world.open = None;
    }
    let mut cx = StepContext::new(1_000, world.next_op);
    let next = Engine::reduce(state.clone(), event.clone(), &mut cx);
    let (effects, next_op) = cx.finish();
    world.next_op = next_op;
    if Engine::is_terminal(state) {
        assert!(effects.is_empty(), "an ended watcher asks for nothing");
        assert_eq!(state.phase, next.phase);
    }
    for (op, effect) in effects {
        world.take(op, &effect);
    }
    assert_eq!(Engine::invariants(&next), Ok(()));
    assert_eq!(next.waiting, world.arrived - world.taken_in);
    let carried = u64::from(world.carries == CarriedSignal::Message);
    assert_eq!(world.taken_in, world.served + carried, "none is lost");
    assert_eq!(next.settled, world.settled - world.taken);
    let waits = Engine::wake(&next).is_some();
    assert!(world.open.is_none() || waits, "an operation has a deadline");
    if Engine::is_terminal(&next) {
        assert_eq!(world.ends, 1);
        assert_eq!(world.open, None, "nothing goes on after the end");
        assert_eq!(world.cleanups, u64::from(world.runs > 0));
    }
    (next, world)
}

/// Returns true when `event` is an outcome of the kind of operation in progress.
fn is_outcome(state: &State, event: &Event) -> bool {
    matches!(
        (&state.phase, event),
        (Phase::Running { .. }, Event::RunEnded { .. })
            | (Phase::Saving { .. }, Event::Saved { .. })
            | (Phase::Cleaning { .. }, Event::CleanupEnded { .. })
    )
}

/// Returns true when `event` ends the operation in progress so that its run counts and the watcher goes on.
fn commits(state: &State, event: &Event) -> bool {
    match (&state.phase, event) {
        (
            Phase::Running {
                op, asked: None, ..
            },
            Event::RunEnded {
                op: ended,
                outcome: Outcome::Succeeded { changed: false, .. },
            },
        ) => op == ended,
        (
            Phase::Saving {
                op,
                then: state::AfterSave::Continue,
                ..
            },
            Event::Saved {
                op: ended,
                result: Ok(()),
            },
        ) => op == ended,
        (_, _) => false,
    }
}

impl World {
    fn take(&mut self, op: OpId, effect: &Effect) {
        match effect {
            Effect::Run { kind, carries } => {
                assert_eq!(self.cleanups, 0, "no run after the cleanup");
                match kind {
                    RunKind::Init => assert_eq!(*carries, CarriedSignal::Nothing),
                    // What a failed run carried comes again until it counts.
                    RunKind::Recover => assert_eq!(*carries, self.carries),
                    RunKind::Signal => {
                        let nothing = CarriedSignal::Nothing;
                        assert_eq!(self.carries, nothing, "nothing is passed over");
                        self.taken_in += u64::from(*carries == CarriedSignal::Message);
                    }
                }
                self.runs += 1;
                self.carries = *carries;
                self.begin(op);
            }
            Effect::Save => self.begin(op),
            Effect::SetAside { .. } => {
                assert_eq!(std::mem::take(&mut self.carries), CarriedSignal::Message);
                self.served += 1;
            }
            Effect::Cleanup => {
                self.cleanups += 1;
                self.begin(op);
            }
            Effect::Abort { op } => assert_eq!(self.open.take(), Some(*op)),
            Effect::Note(Note::Ended { .. }) => self.ends += 1,
            Effect::Note(_) => {}
        }
        assert!(self.cleanups <= 1, "the cleanup runs once");
    }

    fn begin(&mut self, op: OpId) {
        assert_eq!(self.open, None, "one operation at a time");
        self.open = Some(op);
    }
}

/// Asserts that after a stop, with nothing but time, the watcher ends within a few steps.
fn assert_stops(state: &State, world: &World) {
    let ending = Ending::new(EndKind::Stopped, "asked");
    let (mut state, mut world) = step(state, world, &Event::EndAsked { ending });
    for _ in 0..4 {
        if let Some((_, event)) = Engine::wake(&state) {
            if let Event::DeadlinePassed { op } = &event {
                assert_eq!(world.open, Some(*op));
            }
            (state, world) = step(&state, &world, &event);
        }
    }
    assert!(Engine::is_terminal(&state), "stuck in {state:?}");
}

#[test]
fn every_short_sequence_keeps_what_a_watcher_owes() {
    let world = World {
        next_op: 1,
        ..World::default()
    };
    let mut seen = HashSet::new();
    let mut frontier = vec![(State::new(policy()), world)];
    for _ in 0..LENGTH {
        let mut next = Vec::new();
        for (state, world) in &frontier {
            assert_stops(state, world);
            for event in alphabet(STALE) {
                let (after, _) = step(state, world, &event);
                assert_eq!(&after, state, "a stale {event:?} changes nothing");
            }
            let current = world.open.map(alphabet).unwrap_or_default();
            for event in current.iter().chain(&others()) {
                let (state, world) = step(state, world, event);
                if seen.insert((state.clone(), world.clone())) {
                    next.push((state, world));
                }
            }
        }
        frontier = next;
    }
    assert!(seen.len() > 10_000, "only {} states were seen", seen.len());
}
