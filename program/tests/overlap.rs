//! Overlap: the next revision comes up beside the one that is up, and takes its place without a gap.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{DRAIN_MS, Walk, container, exit, host_started, overlapping, program, source};
use hersh_program::{
    CHECK_TIMEOUT_MS, Cause, Effect, Event, InstanceNumber, InstanceStatus, Instances, OpId, Ready,
    RestartPolicy, RevisionNumber, RolloutOutcome, RolloutStep,
};

const FIRST: InstanceNumber = InstanceNumber(1);
const SECOND: InstanceNumber = InstanceNumber(2);

/// A program whose first revision runs and has settled, and whose second is being started beside it.
fn starting() -> Walk {
    let settled = Walk::new(program()).ready().wake();
    deploy(settled, 'e')
}

fn deploy(walk: Walk, digit: char) -> Walk {
    let deployed = overlapping(digit, RestartPolicy::OnFailure);
    let walk = walk.event(common::replaced(deployed)).restart();
    walk.folders().built(digit)
}

/// The same program once the second revision has taken the place of the first.
fn switched() -> Walk {
    starting().started('d')
}

fn ready(walk: &Walk) -> &Ready {
    walk.program.state.ready().expect("a program that is up")
}

fn current(walk: &Walk) -> u64 {
    walk.program.current_revision().unwrap().0
}

fn outcome(walk: &Walk) -> &RolloutOutcome {
    let revisions = walk.program.revisions.as_ref().unwrap();
    &revisions.last_rollout().expect("a rollout").outcome
}

fn last_stop(walk: &Walk) -> (Instances, u64) {
    let (_, effect) = walk.effects.last().expect("an effect");
    match effect {
        Effect::StopInstances {
            instances,
            drain_ms,
            ..
        } => (*instances, *drain_ms),
        other => panic!("{other:?}"),
    }
}

fn start_failed(walk: Walk) -> Walk {
    let op = walk.op();
    let cause = Cause::NotReadyInTime {
        after_ms: 1,
        last_probe: String::new(),
        logs: Vec::new(),
    };
    walk.event(Event::StartFailed { op, cause })
}

fn ended(walk: Walk, instance: InstanceNumber, digit: char) -> Walk {
    walk.event(Event::InstanceEnded {
        instance,
        container: container(digit),
        exit: exit(1),
    })
}

#[test]
fn the_new_instance_comes_up_beside_the_old_one() {
    let walk = starting();
    assert_eq!(walk.asked(), ["start"]);
    assert_eq!(ready(&walk).instance, FIRST);
    assert!(!walk.program.state.is_settled());
    assert_eq!(current(&walk), 1);
    for instance in [FIRST, SECOND] {
        assert!(walk.program.accounts_for(instance));
    }
    let walk = walk.started('d');
    assert_eq!(walk.asked(), ["stop"]);
    assert_eq!(last_stop(&walk), (Instances::One(FIRST), DRAIN_MS));
    let up = ready(&walk);
    assert_eq!((up.instance, &up.container), (SECOND, &container('d')));
    assert!(up.answers_from(&container('c')) && up.answers_from(&container('d')));
    assert_eq!(current(&walk), 2);
    assert!(walk.program.state.is_settled());
    assert!(walk.program.accounts_for(FIRST));

    let walk = walk.stop_finished();
    assert_eq!(ready(&walk).leaving, None);
    assert!(!ready(&walk).answers_from(&container('c')));
    assert!(!walk.program.accounts_for(FIRST));
    let walk = walk.wake();
    assert_eq!(outcome(&walk), &RolloutOutcome::Settled);
}

#[test]
fn a_start_that_fails_leaves_the_old_one_alone() {
    let walk = start_failed(starting());
    assert_eq!(walk.asked(), ["stop"]);
    assert_eq!(last_stop(&walk), (Instances::One(SECOND), 0));
    assert_eq!(ready(&walk).instance, FIRST);
    assert_eq!(
        (current(&walk), walk.program.wanted_revision()),
        (1, Some(RevisionNumber(1)))
    );
    assert!(matches!(outcome(&walk), RolloutOutcome::Failed { .. }));
    assert_eq!(ready(&walk.stop_finished()).leaving, None);
}

#[test]
fn a_start_that_hangs_is_given_up_at_its_deadline() {
    let walk = starting().wake();
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    let RolloutOutcome::Failed { cause } = outcome(&walk) else {
        panic!("{:?}", outcome(&walk));
    };
    assert!(matches!(**cause, Cause::NotReadyInTime { .. }));
}

#[test]
fn an_end_seen_before_the_start_counts() {
    let walk = starting();
    let op = walk.op();
    let walk = ended(walk, SECOND, 'd');
    assert_eq!(walk.asked(), [""; 0]);
    let started = hersh_program::StartResult {
        container: container('d'),
    };
    let walk = walk.event(Event::InstanceStarted { op, started });
    assert_eq!(last_stop(&walk), (Instances::One(SECOND), 0));
    assert!(matches!(outcome(&walk), RolloutOutcome::Failed { .. }));
}

#[test]
fn the_end_of_the_old_one_hands_over_at_once() {
    let walk = ended(starting(), FIRST, 'c');
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    assert_eq!(last_stop(&walk), (Instances::All, 0));
    let walk = walk.stop_finished();
    assert_eq!((walk.state(), current(&walk)), ("starting", 2));
}

#[test]
fn the_end_of_the_new_one_goes_back_to_the_old_revision() {
    let walk = ended(switched(), SECOND, 'd');
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    let walk = walk.stop_finished();
    assert_eq!((walk.state(), current(&walk)), ("starting", 1));
    assert!(matches!(outcome(&walk), RolloutOutcome::RolledBack { .. }));
}

#[test]
fn the_end_of_one_that_leaves_is_no_news() {
    let walk = ended(switched(), FIRST, 'c');
    assert_eq!(walk.asked(), [""; 0]);
    assert_eq!(ready(&walk).instance, SECOND);
}

#[test]
fn a_stop_of_the_program_waits_for_no_request() {
    for (walk, asked) in [
        (starting(), ["cancel", "stop"]),
        (switched(), ["cancel", "stop"]),
    ] {
        let stopped = walk.stop();
        assert_eq!(stopped.asked(), asked);
        let both = stopped.program.manifest_beside();
        assert!(both.is_some(), "two instances run until they are stopped");
        assert_eq!(last_stop(&stopped), (Instances::All, 0));
        assert_eq!(stopped.stop_finished().state(), "stopped");
    }
}

#[test]
fn a_newer_deploy_wins_before_the_switch() {
    let newer = overlapping('f', RestartPolicy::OnFailure);
    let walk = starting().event(common::replaced(newer)).restart();
    assert_eq!(walk.asked(), ["cancel", "stop", "folders"]);
    let by = RevisionNumber(3);
    assert_eq!(outcome(&walk), &RolloutOutcome::Superseded { by });
    let leaving = ready(&walk).leaving.as_ref().unwrap();
    assert_eq!(leaving.instance, SECOND);
}

#[test]
fn a_third_instance_is_never_started() {
    let walk = deploy(switched(), 'f');
    // The first one still leaves, so the new one takes the place of all.
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    assert_eq!(last_stop(&walk), (Instances::All, 0));
    assert_eq!(walk.stop_finished().state(), "starting");
}

#[test]
fn an_instance_that_will_not_leave_is_asked_again() {
    let walk = switched();
    let op = walk.op();
    let result = Err(common::stop_failed());
    let walk = walk.event(Event::StopFinished { op, result });
    assert_eq!(walk.asked(), [""; 0]);
    let again = walk
        .clone()
        .wait(CHECK_TIMEOUT_MS)
        .event(Event::DeadlinePassed { op });
    assert_eq!(again.asked(), ["cancel", "stop"]);
    assert_eq!(last_stop(&again), (Instances::One(FIRST), 0));
    assert_eq!(ready(&again.stop_finished()).leaving, None);
}

#[test]
fn a_host_that_comes_back_begins_the_start_anew() {
    let walk = starting().event(host_started());
    assert_eq!(walk.asked(), ["cancel", "status", "stop", "folders"]);
    let RolloutStep::Building(_) = ready(&walk).rollout.as_ref().unwrap().step else {
        panic!("{:?}", ready(&walk).rollout);
    };
    // No request is under way any more: they ended with the host.
    let walk = switched().event(host_started());
    assert_eq!(walk.asked(), ["status", "cancel", "stop"]);
    assert_eq!(last_stop(&walk), (Instances::One(FIRST), 0));
}

#[test]
fn an_answer_about_the_old_one_is_moot_after_the_switch() {
    let walk = Walk::new(program()).ready().wake().event(host_started());
    let asked: OpId = walk.op();
    let walk = deploy(walk, 'e').started('d');
    assert_eq!(walk.asked(), ["cancel", "stop"]);
    let result = Ok(InstanceStatus::Absent);
    let walk = walk.event(Event::InstanceObserved { op: asked, result });
    assert_eq!((walk.state(), ready(&walk).instance), ("ready", SECOND));
}

#[test]
fn a_roll_back_to_one_that_replaces_stops_before_it_starts() {
    let revision = RevisionNumber(1);
    let walk = switched().stop_finished().wake();
    let walk = walk.event(Event::UserRollBackRequested { revision });
    let walk = walk.folders().built('b');
    assert_eq!(walk.asked(), ["stop"]);
    assert_eq!(
        (walk.state(), last_stop(&walk)),
        ("stopping", (Instances::All, 0))
    );
}

#[test]
fn a_revision_that_replaces_never_overlaps() {
    let settled = Walk::new(program()).ready().wake();
    let next = source('e', RestartPolicy::OnFailure);
    let walk = settled.event(common::replaced(next)).restart();
    assert_eq!(walk.folders().built('e').state(), "stopping");
}

#[test]
fn a_build_has_its_time_after_a_drain() {
    let newer = overlapping('f', RestartPolicy::OnFailure);
    let walk = switched().event(common::replaced(newer)).restart();
    let walk = walk.wait(DRAIN_MS + 10_000).folders();
    let build_ms = ready(&walk)
        .rollout
        .as_ref()
        .unwrap()
        .step
        .source()
        .manifest
        .timeouts
        .build_ms;
    match walk.effects.last() {
        Some((_, Effect::BuildImage { timeout_ms, .. })) => assert_eq!(*timeout_ms, build_ms),
        other => panic!("{other:?}"),
    }
}
