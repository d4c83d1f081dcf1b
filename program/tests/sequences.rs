//! Every sequence of up to six events over a reduced alphabet, from a new program.
//!
//! States that differ only in names of operations and in times are explored once, so the walk
//! over sequences is a walk over a small graph; the number of sequences it stands for is checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    Walk, container, end_of, exit, host_started, host_started_with_orphan, image, program_with,
    source, stop_failed,
};
use hersh_machine::Machine;
use hersh_program::{
    Cause, Event, Exit, ExitReason, InstanceNumber, InstanceStatus, Lifecycle, OpId, RestartPolicy,
    RevisionNumber, StartResult, State,
};

const LENGTH: usize = 6;

/// The operations that the state waits for.
fn held(state: &State) -> Vec<OpId> {
    match state {
        State::Building(held) => vec![held.op],
        State::Starting(held) => vec![held.op],
        State::Stopping(held) => vec![held.op],
        State::Ready(held) => {
            let rollout = held.rollout.as_ref().map(|rollout| rollout.step.op());
            let leaving = held.leaving.as_ref().map(|leaving| leaving.op);
            let check = held.check.map(|check| check.op);
            [rollout.or(check), leaving].into_iter().flatten().collect()
        }
        State::Error(held) => held.retry.iter().map(|retry| retry.op).collect(),
        State::Created | State::Stopped(_) | State::Removed => Vec::new(),
    }
}

/// Commands, facts, and every outcome of the operation that is held and of one that is not.
fn alphabet(walk: &Walk) -> Vec<Event> {
    let ends = |exit| end_of(&walk.program, container('c'), exit);
    let source = source('e', RestartPolicy::OnFailure);
    let mut events = vec![
        Event::UserStartRequested,
        Event::UserStopRequested,
        Event::UserRestartRequested,
        Event::UserDeleteRequested,
        common::replaced(source),
        Event::UserBuildRequested,
        Event::UserRollBackRequested {
            revision: RevisionNumber(1),
        },
        Event::InstanceSettled {
            instance: InstanceNumber(walk.program.instances.unwrap_or_default()),
        },
        Event::InstanceNotAlive {
            instance: InstanceNumber(walk.program.instances.unwrap_or_default()),
            container: container('c'),
            failures: 3,
            last_probe: String::new(),
            logs: Vec::new(),
        },
        host_started(),
        host_started_with_orphan(),
        ends(exit(0)),
        ends(exit(1)),
        ends(Exit {
            reason: ExitReason::StoppedFromOutside { code: 0 },
            logs: Vec::new(),
        }),
    ];
    let ops = held(&walk.program.state).into_iter().chain([OpId(0)]);
    events.extend(ops.flat_map(outcomes));
    events
}

fn outcomes(op: OpId) -> [Event; 16] {
    let cause = || Cause::StartFailed {
        message: String::new(),
        logs: Vec::new(),
    };
    let started = StartResult {
        container: container('c'),
    };
    let (ok, message) = (Ok(()), String::new());
    let gone = image('b');
    let (image, absent) = (Ok(image('b')), Ok(InstanceStatus::Absent));
    [
        Event::FoldersEnsured {
            op,
            result: ok.clone(),
        },
        Event::FoldersEnsured {
            op,
            result: Err(cause()),
        },
        Event::BuildFinished { op, result: image },
        Event::BuildFinished {
            op,
            result: Err(cause()),
        },
        Event::InstanceStarted { op, started },
        Event::StartFailed { op, cause: cause() },
        Event::StartFailed {
            op,
            cause: Cause::ImageGone { image: gone },
        },
        Event::StartFailed {
            op,
            cause: Cause::Finished { logs: Vec::new() },
        },
        Event::StopFinished {
            op,
            result: ok.clone(),
        },
        Event::StopFinished {
            op,
            result: Err(stop_failed()),
        },
        Event::InstanceObserved { op, result: absent },
        Event::DeadlinePassed { op },
        Event::RetryDue { op },
        Event::Removed { op, result: ok },
        Event::Removed {
            op,
            result: Err(stop_failed()),
        },
        Event::HandlerPanicked { op, message },
    ]
}

/// A state without names of operations and times.
fn shape(walk: &Walk) -> String {
    let mut text = format!("{:?}", walk.program);
    for digits in ["op", "deadline_ms", "due_ms", "since_ms"] {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(&format!("{digits}: ")) {
            let value = at + digits.len() + 2;
            out.push_str(&rest[..value]);
            rest = rest[value..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest = rest.strip_prefix("OpId(").map_or(rest, |tail| {
                tail.trim_start_matches(|c: char| c.is_ascii_digit())
            });
        }
        out.push_str(rest);
        text = out;
    }
    text
}

fn keeps_invariants(walk: &Walk) {
    let program = &walk.program;
    Lifecycle::invariants(program).unwrap();
    if !program.state.is_settled() {
        let held = held(&program.state);
        assert!(held.first().is_some_and(|op| op.0 > 0), "an operation");
        let (at_ms, _) = Lifecycle::wake(program).expect("a deadline");
        assert!(at_ms >= walk.now_ms);
    }
    // What may run is known, and only from a start on until a stop that succeeded.
    match &program.state {
        State::Starting(_) | State::Ready(_) => assert!(program.instance_manifest.is_some()),
        State::Created | State::Building(_) | State::Stopped(_) | State::Removed => {
            assert_eq!(program.instance_manifest, None);
        }
        State::Stopping(_) | State::Error(_) => {}
    }
    assert_eq!(
        program.state.container().is_some(),
        matches!(program.state, State::Ready(_))
    );
    reaches_rest(walk.clone().stop(), false);
    reaches_rest(walk.clone().delete(), true);
}

/// With outcomes that succeed, what a person wished comes true.
fn reaches_rest(mut walk: Walk, gone: bool) {
    for _ in 0..3 {
        match &walk.program.state {
            State::Stopping(held) => {
                let op = held.op;
                let result = Ok(());
                let event = match held.step {
                    hersh_program::StopStep::Instances => Event::StopFinished { op, result },
                    hersh_program::StopStep::Files => Event::Removed { op, result },
                };
                walk = walk.event(event);
            }
            State::Created | State::Stopped(_) if !gone => return,
            // Delete beats stop: a program being removed stays on its way.
            State::Removed => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("never at rest: {:?}", walk.program.state);
}

/// Walks over every sequence of `length` events from `first`, and returns the number of states and of sequences.
fn explore(first: Walk, length: usize) -> (usize, u64) {
    let mut level = BTreeMap::from([(shape(&first), (first, 1_u64))]);
    let mut seen = BTreeSet::new();
    let mut sequences = 0_u64;
    for _ in 0..length {
        let mut next: BTreeMap<String, (Walk, u64)> = BTreeMap::new();
        for (walk, paths) in level.into_values() {
            for event in alphabet(&walk) {
                sequences += paths;
                let walk = walk.clone().wait(1).event(event);
                let entry = next.entry(shape(&walk)).or_insert_with(|| (walk, 0));
                entry.1 += paths;
            }
        }
        for (shape, (walk, _)) in &next {
            if seen.insert(shape.clone()) {
                keeps_invariants(walk);
            }
        }
        level = next;
    }
    (seen.len(), sequences)
}

const POLICIES: [RestartPolicy; 3] = [
    RestartPolicy::OnFailure,
    RestartPolicy::Always,
    RestartPolicy::Never,
];

#[test]
fn every_sequence_of_six_events_keeps_the_invariants() {
    for policy in POLICIES {
        let (states, sequences) = explore(Walk::new(program_with(policy)), LENGTH);
        assert!(states > 50, "{states} states");
        assert!(sequences > 100_000_000, "{sequences} sequences");
        println!("{policy:?}: {states} states, {sequences} sequences");
    }
}

/// From here on a rollout has something to go back to. Four events led here already.
#[test]
fn every_sequence_from_a_settled_revision_keeps_them() {
    for policy in POLICIES {
        let ready = Walk::new(program_with(policy)).ready();
        let settled = ready.wake();
        let deployed = settled
            .event(common::replaced(source('e', policy)))
            .restart();
        let (states, sequences) = explore(deployed, LENGTH - 2);
        assert!(sequences > 100_000, "{sequences} sequences");
        println!("{policy:?}: {states} states, {sequences} sequences");
    }
}

/// From here on a second instance is brought up, takes the place of the first, or leaves. Six events led here already.
#[test]
fn every_sequence_beside_a_second_instance_keeps_them() {
    for policy in POLICIES {
        let settled = Walk::new(program_with(policy)).ready().wake();
        let deployed = settled.event(common::replaced(common::overlapping('e', policy)));
        let starting = deployed.restart().folders().built('e');
        assert_eq!(starting.asked(), ["start"]);
        assert_eq!(starting.state(), "ready");
        let (states, sequences) = explore(starting, LENGTH - 2);
        assert!(sequences > 100_000, "{sequences} sequences");
        println!("{policy:?}: {states} states, {sequences} sequences");
    }
}
