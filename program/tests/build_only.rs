//! A build that nothing follows: the revision waits for a command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{Walk, host_started, host_started_with_orphan, program, source};
use hersh_program::{Cause, Effect, Event, Refusal, RestartPolicy, RevisionNumber, RolloutOutcome};

fn build(walk: Walk) -> Walk {
    walk.event(Event::UserBuildRequested)
}

fn stored(walk: Walk, digit: char) -> Walk {
    walk.event(common::replaced(source(digit, RestartPolicy::OnFailure)))
}

/// A program that runs while its second revision is built for nothing.
fn beside() -> Walk {
    let settled = Walk::new(program()).ready().wake();
    build(stored(settled, 'e')).folders()
}

fn failed(walk: Walk) -> Walk {
    let op = walk.op();
    let result = Err(Cause::BuildFailed {
        message: String::from("no such file"),
        logs: Vec::new(),
    });
    walk.event(Event::BuildFinished { op, result })
}

fn outcome(walk: &Walk) -> &RolloutOutcome {
    let revisions = walk.program.revisions.as_ref().unwrap();
    &revisions.last_rollout().expect("an end").outcome
}

fn refusal(walk: &Walk) -> &Refusal {
    match walk.effects.last() {
        Some((_, Effect::Refuse { refusal })) => refusal,
        other => panic!("{other:?}"),
    }
}

fn numbers(walk: &Walk) -> (u64, u64) {
    let number = |revision: Option<RevisionNumber>| revision.unwrap().0;
    let program = &walk.program;
    (
        number(program.current_revision()),
        number(program.wanted_revision()),
    )
}

#[test]
fn what_runs_goes_on_and_the_build_waits_for_a_command() {
    let walk = beside().built('e');
    assert_eq!(walk.asked(), [""; 0]);
    assert_eq!(walk.state(), "ready");
    assert!(walk.program.state.is_settled());
    assert_eq!(outcome(&walk), &RolloutOutcome::Built);
    assert_eq!(numbers(&walk), (1, 2));
    let walk = walk.restart().folders().built('e');
    assert_eq!((walk.state(), numbers(&walk)), ("stopping", (2, 2)));
}

#[test]
fn a_build_that_fails_wants_what_runs_again() {
    let walk = failed(beside());
    assert!(matches!(outcome(&walk), RolloutOutcome::Failed { .. }));
    assert_eq!((walk.state(), numbers(&walk)), ("ready", (1, 1)));
}

#[test]
fn a_program_at_rest_is_built_and_rests_on() {
    let new = build(Walk::new(program())).folders();
    assert_eq!((new.state(), new.program.is_started()), ("building", false));
    let new = new.built('b');
    assert_eq!(
        (new.state(), outcome(&new)),
        ("created", &RolloutOutcome::Built)
    );
    assert!(new.program.image.is_some());

    let ended = Walk::new(program()).ready().exited('c', 0).stop_finished();
    let before = ended.program.state.clone();
    let built = build(stored(ended, 'e')).folders().built('e');
    assert_eq!(built.program.state, before);
}

#[test]
fn a_build_at_rest_that_fails_leaves_the_program_at_rest() {
    for walk in [
        failed(build(Walk::new(program())).folders()),
        build(Walk::new(program())).folders().wake().stop_finished(),
    ] {
        assert!(
            ["created", "stopped"].contains(&walk.state()),
            "{}",
            walk.state()
        );
        assert!(matches!(outcome(&walk), RolloutOutcome::Failed { .. }));
        assert_eq!(walk.start().state(), "building");
    }
}

#[test]
fn a_start_meanwhile_goes_on_from_the_build() {
    let walk = build(Walk::new(program())).folders();
    let op = walk.op();
    let walk = walk.start();
    assert_eq!(walk.asked(), [""; 0]);
    let result = Ok(common::image('b'));
    let walk = walk.event(Event::BuildFinished { op, result });
    assert_eq!(walk.state(), "starting");

    let walk = stored(build(Walk::new(program())).folders(), 'e').start();
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    assert_eq!(walk.stop_finished().state(), "building");
}

#[test]
fn a_restart_meanwhile_goes_on_from_the_build() {
    let walk = beside();
    let op = walk.op();
    let walk = walk.restart();
    assert_eq!(walk.asked(), [""; 0]);
    let result = Ok(common::image('e'));
    let walk = walk.event(Event::BuildFinished { op, result });
    assert_eq!((walk.state(), numbers(&walk)), ("stopping", (2, 2)));
}

#[test]
fn an_end_of_what_runs_starts_what_ran() {
    let walk = beside().exited('c', 1);
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    let walk = walk.stop_finished().wake();
    assert_eq!((walk.state(), numbers(&walk)), ("starting", (1, 2)));
    assert_eq!(outcome(&walk), &RolloutOutcome::Cut);
}

#[test]
fn a_host_that_comes_back_builds_on_and_starts_nothing() {
    let walk = beside().event(host_started());
    assert_eq!(walk.asked(), ["cancel", "status", "folders"]);
    let walk = walk.folders().built('e');
    assert_eq!(
        (walk.state(), outcome(&walk)),
        ("ready", &RolloutOutcome::Built)
    );

    let walk = build(Walk::new(program())).folders();
    let walk = walk.event(host_started_with_orphan()).stop_finished();
    assert_eq!(walk.state(), "stopped");
}

#[test]
fn a_stop_or_a_removal_ends_the_build() {
    for (walk, end) in [
        (
            build(Walk::new(program())).stop().stop_finished(),
            "stopped",
        ),
        (beside().stop().stop_finished(), "stopped"),
        (beside().delete().stop_finished().removed(), "removed"),
    ] {
        assert_eq!(walk.state(), end);
    }
}

#[test]
fn what_is_under_way_is_not_disturbed() {
    let new = || Walk::new(program());
    let settled = || new().ready().wake();
    for (walk, is_busy) in [
        (build(new().building()), true),
        (build(new().starting()), true),
        (build(new().ready().stop()), true),
        (build(new().ready().exited('c', 1).stop_finished()), true),
        (build(stored(stored(settled(), 'e').restart(), 'f')), true),
        (build(build(new())), false),
        (build(beside()), false),
        (build(settled()), false),
    ] {
        match refusal(&walk) {
            Refusal::Busy { .. } => assert!(is_busy, "{:?}", walk.program.state),
            Refusal::Already { .. } => assert!(!is_busy, "{:?}", walk.program.state),
            other => panic!("{other:?}"),
        }
    }
    for walk in [new().delete(), new().delete().removed()] {
        assert_eq!(refusal(&build(walk)), &Refusal::BeingRemoved);
    }
}

#[test]
fn a_newer_revision_takes_the_place_of_one_that_is_built_only() {
    for walk in [build(Walk::new(program())).folders(), beside()] {
        let newer = build(stored(walk.clone(), 'f'));
        assert_eq!(
            newer.asked(),
            ["cancel", "folders"],
            "{:?}",
            walk.program.state
        );
        let by = newer.program.wanted_revision().unwrap();
        assert_eq!(outcome(&newer), &RolloutOutcome::Superseded { by });
        let built = newer.folders().built('f');
        assert_eq!(outcome(&built), &RolloutOutcome::Built);
        assert_eq!(
            built.program.state.name(),
            match walk.state() {
                "ready" => "ready",
                _at_rest => "created",
            }
        );
    }
}

#[test]
fn a_program_that_failed_for_good_is_built_and_stays_failed() {
    let never = Walk::new(common::program_with(RestartPolicy::Never));
    let failed = never.ready().exited('c', 1).stop_finished();
    assert_eq!((failed.state(), failed.asked()), ("error", vec![]));
    let before = failed.program.state.clone();
    let built = build(stored(failed, 'e')).folders().built('e');
    assert_eq!(built.program.state, before);
    assert_eq!(outcome(&built), &RolloutOutcome::Built);
}

#[test]
fn a_program_that_was_stopped_before_it_ran_is_stopped_again() {
    let stopped = Walk::new(program()).building().stop().stop_finished();
    assert_eq!(build(stopped).folders().built('b').state(), "stopped");
}

#[test]
fn a_newest_revision_that_fails_at_rest_stays_the_wanted_one() {
    let walk = failed(build(stored(Walk::new(program()), 'e')).folders());
    assert_eq!(walk.program.wanted_revision(), Some(RevisionNumber(2)));
}
