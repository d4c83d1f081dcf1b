//! Every execution of a program has a number of its own, and nothing of one counts for another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{Walk, container, exit, host_started, host_started_with_orphan, program};
use hersh_program::{
    AfterStop, Effect, Event, InstanceNumber, InstanceStatus, Instances, OpId, Program, Rules,
    State, StopStep,
};

fn new() -> Walk {
    Walk::new(program())
}

/// A program as a host left it that did not number instances.
fn unnumbered() -> Walk {
    let mut stored = serde_json::to_value(program()).unwrap();
    stored.as_object_mut().unwrap().remove("instances");
    let program: Program = serde_json::from_value(stored).unwrap();
    assert_eq!(program.instances, None);
    Walk::new(program)
}

/// The number in the last start that was asked for.
fn asked_to_start(walk: &Walk) -> InstanceNumber {
    match walk.effects.as_slice() {
        [.., (_, Effect::StartInstance { instance, .. })] => *instance,
        other => panic!("{other:?}"),
    }
}

fn exited(instance: u64, digit: char) -> Event {
    Event::InstanceEnded {
        instance: InstanceNumber(instance),
        container: container(digit),
        exit: exit(1),
    }
}

#[test]
fn every_start_has_the_next_number() {
    let first = new().starting();
    assert_eq!(asked_to_start(&first), InstanceNumber(1));
    let again = first.started('c').restart().stop_finished();
    assert_eq!(asked_to_start(&again), InstanceNumber(2));
    // A retry too is a new execution.
    let failed = again.started('d').exited('d', 1).stop_finished();
    let retried = failed.wake();
    assert_eq!(asked_to_start(&retried), InstanceNumber(3));
    let third = retried.started('e');
    assert_eq!(
        third.program.ready_instance().unwrap().to_string(),
        "counter.3"
    );
}

#[test]
fn the_end_of_an_earlier_instance_is_stale() {
    let second = new().ready().restart().stop_finished();
    let second = second.event(exited(1, 'd'));
    match &second.program.state {
        State::Starting(held) => assert_eq!(held.exits, []),
        other => panic!("{other:?}"),
    }
    // Even of one that the runtime calls the same.
    let op = match &second.program.state {
        State::Starting(held) => held.op,
        other => panic!("{other:?}"),
    };
    let started = hersh_program::StartResult {
        container: container('d'),
    };
    let second = second.event(Event::InstanceStarted { op, started });
    let second = second.event(exited(1, 'd'));
    assert_eq!(second.state(), "ready");
    assert_eq!(second.event(exited(2, 'd')).state(), "stopping");
}

#[test]
fn questions_and_stops_name_their_instance() {
    let asked = new().ready().event(host_started());
    match asked.effects.as_slice() {
        [(_, Effect::ObserveInstance { instance, .. })] => {
            assert_eq!(*instance, InstanceNumber(1));
        }
        other => panic!("{other:?}"),
    }
    let stopping = asked.stop();
    match &stopping.program.state {
        State::Stopping(held) => assert_eq!(held.instance, Some(InstanceNumber(1))),
        other => panic!("{other:?}"),
    }
    // Whatever else is there of the program goes too.
    match stopping.effects.as_slice() {
        [.., (_, Effect::StopInstances { instances, .. })] => {
            assert_eq!(*instances, Instances::All);
        }
        other => panic!("{other:?}"),
    }
    match &new().building().stop().program.state {
        State::Stopping(held) => assert_eq!(held.instance, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_accounts_for_what_it_will_stop() {
    let (first, other) = (InstanceNumber(1), InstanceNumber(2));
    let accounts = |walk: &Walk| {
        let program = &walk.program;
        (program.accounts_for(first), program.accounts_for(other))
    };
    assert_eq!(accounts(&new()), (false, false));
    assert_eq!(accounts(&new().building()), (false, false));
    assert_eq!(accounts(&new().starting()), (true, false));
    assert_eq!(accounts(&new().ready()), (true, false));
    let stopping = new().ready().stop();
    assert_eq!(accounts(&stopping), (true, true));
    let op = stopping.op();
    let result = Err(common::stop_failed());
    let left = stopping.clone().event(Event::StopFinished { op, result });
    assert_eq!((left.state(), accounts(&left)), ("error", (true, true)));
    assert_eq!(accounts(&stopping.stop_finished()), (false, false));
    let removing = new().ready().delete().stop_finished();
    match &removing.program.state {
        State::Stopping(held) => {
            assert_eq!(
                (held.step, &held.then),
                (StopStep::Files, &AfterStop::Remove)
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(accounts(&removing), (false, false));
}

#[test]
fn an_older_journal_folds_without_numbers() {
    let old_start = Event::HostStarted {
        numbers_instances: false,
        rules: Rules::First,
        orphan: None,
    };
    let ready = unnumbered().ready().event(old_start);
    let named = ready.effects.iter().find_map(|(_, effect)| match effect {
        Effect::ObserveInstance { instance, .. } => Some(*instance),
        _ => None,
    });
    assert_eq!(named, Some(InstanceNumber::UNNUMBERED));
    let again = ready.restart().stop_finished();
    assert_eq!(asked_to_start(&again), InstanceNumber::UNNUMBERED);
    // What it was told of ends is told apart by what the runtime calls them.
    let again = again.started('d');
    assert_eq!(again.clone().event(exited(0, 'c')).state(), "ready");
    assert_eq!(again.event(exited(0, 'd')).state(), "stopping");
}

#[test]
fn numbers_begin_with_the_first_host_that_gives_them() {
    let kept = unnumbered().ready().event(host_started());
    assert_eq!(
        kept.program.ready_instance().unwrap().number,
        InstanceNumber::UNNUMBERED
    );
    let op = kept.op();
    let result = Ok(InstanceStatus::Running(container('c')));
    let kept = kept.event(Event::InstanceObserved { op, result });
    assert_eq!(kept.state(), "ready", "what runs is not disturbed");
    let next = kept.restart().stop_finished();
    assert_eq!(asked_to_start(&next), InstanceNumber(1));
    assert_ne!(op, OpId(0));
}

#[test]
fn events_without_numbers_are_read() {
    let old = r#"{"event":"runtime_exited","container":"0123456789ab","exit":{"reason":"vanished","logs":[]}}"#;
    match serde_json::from_str(old).unwrap() {
        Event::InstanceEnded { instance, .. } => {
            assert_eq!(instance, InstanceNumber::UNNUMBERED);
        }
        other => panic!("{other:?}"),
    }
    let old: Event = serde_json::from_str(r#"{"event":"host_started"}"#).unwrap();
    assert_eq!(
        old,
        Event::HostStarted {
            numbers_instances: false,
            rules: Rules::First,
            orphan: None,
        }
    );
}

#[test]
fn nothing_starts_beside_an_orphan() {
    for (before, effects, after) in [
        (new(), &["stop"][..], "stopped"),
        (new().ready().stop().stop_finished(), &["stop"], "stopped"),
        (new().building(), &["cancel", "stop"], "building"),
        (new().starting(), &["cancel", "stop"], "starting"),
        (new().ready(), &["stop"], "starting"),
        (
            new().ready().delete().stop_finished(),
            &["cancel", "stop"],
            "stopping",
        ),
    ] {
        let walk = before.event(host_started_with_orphan());
        assert_eq!((walk.state(), &walk.asked()[..]), ("stopping", effects));
        assert!(walk.program.accounts_for(InstanceNumber(77)));
        assert_eq!(walk.clone().stop_finished().state(), after);
        // An engine that does not stop it now either leaves it for a person, or for a retry.
        let op = walk.op();
        let result = Err(common::stop_failed());
        let failed = walk.event(Event::StopFinished { op, result });
        assert_eq!(failed.state(), "error");
        assert_eq!(failed.start().asked().last(), Some(&"stop"));
    }
}

#[test]
fn a_failed_program_is_stopped_before_it_is_tried_again() {
    let failed = new().ready().exited('c', 1).stop_finished();
    assert!(!failed.program.accounts_for(InstanceNumber(77)));
    let warned = failed.event(host_started_with_orphan());
    match &warned.program.state {
        State::Error(held) => assert!(held.not_stopped.is_some() && held.retry.is_some()),
        other => panic!("{other:?}"),
    }
    assert_eq!(warned.clone().wake().asked(), ["stop"]);
    assert_eq!(warned.wake().stop_finished().asked(), ["start"]);
}

#[test]
fn a_stop_of_all_that_is_under_way_ends_an_orphan() {
    let stopping = new().ready().stop();
    let told = stopping.clone().event(host_started_with_orphan());
    assert!(told.effects.is_empty());
    assert_eq!(told.program.state.name(), "stopping");
    let finished = Event::StopFinished {
        op: stopping.op(),
        result: Ok(()),
    };
    assert_eq!(told.event(finished).state(), "stopped");
}
