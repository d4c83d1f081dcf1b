//! Revisions: a program that is up goes on while the next one is built, and goes back if that one fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::sync::Arc;

use common::{
    Walk, exit, host_started, host_started_with_orphan, image, program, program_with, source,
};
use hersh_machine::Machine;
use hersh_program::{
    AfterStop, Cause, Effect, Event, ImageId, InstanceStatus, Lifecycle, Readiness, Refusal,
    RestartPolicy, RevisionNumber, Revisions, RolloutEnd, RolloutOutcome, Rules, Source, StartKind,
    State, recovery,
};

const SETTLED_MS: u64 = recovery::SETTLED_RUN_MS;

/// A program whose first revision runs and has settled.
fn settled() -> Walk {
    Walk::new(program()).ready().wake()
}

fn deployed(walk: Walk, digit: char) -> Walk {
    let source = source(digit, RestartPolicy::OnFailure);
    stored(walk, source).restart()
}

fn stored(walk: Walk, source: Source) -> Walk {
    walk.event(common::replaced(source))
}

fn roll_back(walk: Walk, revision: u64) -> Walk {
    let revision = RevisionNumber(revision);
    walk.event(Event::UserRollBackRequested { revision })
}

/// A program whose second revision is built beside the first.
fn building_beside() -> Walk {
    deployed(settled(), 'e').folders()
}

/// A program whose second revision is being started in place of the first.
fn replacing() -> Walk {
    building_beside().built('e').stop_finished()
}

fn no_such_file() -> Cause {
    Cause::BuildFailed {
        message: String::from("no such file"),
        logs: Vec::new(),
    }
}

fn build_failed(walk: Walk) -> Walk {
    let op = walk.op();
    let result = Err(no_such_file());
    walk.event(Event::BuildFinished { op, result })
}

fn start_failed(walk: Walk, cause: Cause) -> Walk {
    let op = walk.op();
    walk.event(Event::StartFailed { op, cause })
}

fn not_ready() -> Cause {
    Cause::NotReadyInTime {
        after_ms: 1,
        last_probe: String::from("503"),
        logs: Vec::new(),
    }
}

fn revisions(walk: &Walk) -> &Revisions {
    walk.program.revisions.as_ref().expect("revisions")
}

/// The current revision and the wanted one.
fn numbers(walk: &Walk) -> (u64, u64) {
    let revisions = revisions(walk);
    (revisions.plan().revision.0, revisions.wanted().0)
}

fn outcome(walk: &Walk) -> (u64, &RolloutOutcome) {
    let RolloutEnd {
        revision, outcome, ..
    } = revisions(walk)
        .last_rollout()
        .expect("a rollout that ended");
    (revision.0, outcome)
}

fn started_image(walk: &Walk) -> &ImageId {
    let started = walk.effects.iter().find_map(|(_, effect)| match effect {
        Effect::StartInstance { image, .. } => Some(image),
        _ => None,
    });
    started.expect("a start")
}

fn expect(walk: &Walk, state: &str, asked: &[&str]) {
    assert_eq!((walk.state(), walk.asked().as_slice()), (state, asked));
}

#[test]
fn a_program_that_is_up_goes_on_while_the_next_is_built() {
    let deployed = deployed(settled(), 'e');
    expect(&deployed, "ready", &["folders"]);
    let building = deployed.folders();
    expect(&building, "ready", &["build"]);
    assert!(building.program.is_building());
    assert_eq!(building.program.ready_instance().unwrap().number.0, 1);
    expect(&building.built('e'), "stopping", &["stop"]);
}

#[test]
fn a_failed_build_leaves_what_runs_untouched() {
    let failed = build_failed(building_beside());
    expect(&failed, "ready", &[]);
    assert_eq!(numbers(&failed), (1, 1));
    let cause = Arc::new(no_such_file());
    assert_eq!(outcome(&failed), (2, &RolloutOutcome::Failed { cause }));
    // The next restart is of what runs.
    let again = failed.restart().stop_finished();
    assert_eq!(started_image(&again), &image('b'));
}

#[test]
fn folders_that_fail_end_the_rollout_only() {
    let deployed = deployed(settled(), 'e');
    let op = deployed.op();
    let message = String::from("read-only");
    let result = Err(Cause::FoldersFailed { message });
    let failed = deployed.event(Event::FoldersEnsured { op, result });
    expect(&failed, "ready", &[]);
    assert!(matches!(
        outcome(&failed),
        (2, RolloutOutcome::Failed { .. })
    ));
}

#[test]
fn a_build_past_its_deadline_is_cancelled() {
    let late = building_beside().wake();
    expect(&late, "ready", &["cancel"]);
    match outcome(&late) {
        (2, RolloutOutcome::Failed { cause }) => {
            assert!(matches!(**cause, Cause::BuildTimedOut { .. }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_new_revision_replaces_the_old_one() {
    let replacing = replacing();
    expect(&replacing, "starting", &["start"]);
    assert_eq!(started_image(&replacing), &image('e'));
    assert_eq!(numbers(&replacing), (2, 2));
    let up = replacing.started('d').wake();
    let told = up.event(host_started());
    assert_eq!(outcome(&told), (2, &RolloutOutcome::Settled));
    assert!(revisions(&told).get(RevisionNumber(2)).unwrap().is_good);
}

#[test]
fn a_start_that_fails_goes_back_to_what_ran() {
    let failed = start_failed(replacing(), not_ready());
    expect(&failed, "stopping", &["stop"]);
    let back = failed.stop_finished();
    expect(&back, "starting", &["start"]);
    assert_eq!(started_image(&back), &image('b'));
    assert_eq!(numbers(&back), (1, 1));
    let ready = back.started('d');
    assert_eq!(ready.state(), "ready");
    let (to, cause) = (RevisionNumber(1), Arc::new(not_ready()));
    let rolled_back = RolloutOutcome::RolledBack { to, cause };
    assert_eq!(outcome(&ready), (2, &rolled_back));
}

#[test]
fn a_start_past_its_deadline_goes_back_to_what_ran() {
    let late = replacing().wake();
    expect(&late, "stopping", &["cancel", "stop"]);
    assert_eq!(started_image(&late.stop_finished()), &image('b'));
}

#[test]
fn an_end_before_it_settled_goes_back_to_what_ran() {
    let ended = replacing().started('d').wait(SETTLED_MS - 1).exited('d', 1);
    assert_eq!(started_image(&ended.stop_finished()), &image('b'));
    let clean = replacing().started('d').exited('d', 0);
    assert_eq!(started_image(&clean.stop_finished()), &image('b'));
}

#[test]
fn an_end_after_it_settled_is_a_crash_like_any_other() {
    let crashed = replacing().started('d').wake().exited('d', 1);
    let crashed = crashed.stop_finished();
    expect(&crashed, "error", &["retry"]);
    assert_eq!(started_image(&crashed.wake()), &image('e'));
}

#[test]
fn a_job_that_finished_is_a_good_revision() {
    let mut source = source('e', RestartPolicy::OnFailure);
    Arc::make_mut(&mut source.manifest).readiness = Readiness::None { port: 8080 };
    let up = stored(settled(), source).restart().folders().built('e');
    let done = up
        .stop_finished()
        .started('d')
        .exited('d', 0)
        .stop_finished();
    expect(&done, "stopped", &[]);
    assert_eq!(outcome(&done), (2, &RolloutOutcome::Settled));
}

#[test]
fn an_engine_that_is_away_is_no_reason_to_go_back() {
    let message = String::from("connection refused");
    let failed = start_failed(replacing(), Cause::RuntimeUnavailable { message });
    let failed = failed.stop_finished();
    expect(&failed, "error", &["retry"]);
    let again = failed.wake();
    assert_eq!(started_image(&again), &image('e'));
    // It still goes back once the fault is its own.
    let back = start_failed(again, not_ready()).stop_finished();
    assert_eq!(started_image(&back), &image('b'));
}

#[test]
fn a_roll_back_that_fails_too_is_tried_by_policy() {
    let back = start_failed(replacing(), not_ready()).stop_finished();
    let failed = start_failed(back, not_ready()).stop_finished();
    expect(&failed, "error", &["retry"]);
    // Both causes are there.
    assert!(matches!(
        outcome(&failed),
        (2, RolloutOutcome::RolledBack { .. })
    ));
    match &revisions(&failed).plan().kind {
        StartKind::RollBack { from, .. } => assert_eq!(from.0, 2),
        other => panic!("{other:?}"),
    }
    let again = failed.wake();
    assert_eq!(started_image(&again), &image('b'));
}

#[test]
fn a_newer_deploy_takes_the_place_of_the_one_under_way() {
    let newer = deployed(building_beside(), 'f');
    expect(&newer, "ready", &["cancel", "folders"]);
    let by = RevisionNumber(3);
    assert_eq!(outcome(&newer), (2, &RolloutOutcome::Superseded { by }));
    let replaced = newer.folders().built('f').stop_finished();
    assert_eq!(started_image(&replaced), &image('f'));
    let back = start_failed(replaced, not_ready()).stop_finished();
    assert_eq!(started_image(&back), &image('b'), "the last good one");
}

#[test]
fn a_newer_deploy_during_the_start_wins() {
    let newer = deployed(replacing(), 'f');
    expect(&newer, "stopping", &["cancel", "stop"]);
    let by = RevisionNumber(3);
    assert_eq!(outcome(&newer), (2, &RolloutOutcome::Superseded { by }));
    let building = newer.stop_finished();
    expect(&building, "building", &["folders"]);
    let failed = build_failed(building.folders());
    expect(&failed, "starting", &["start"]);
    assert_eq!(started_image(&failed), &image('b'));
}

#[test]
fn the_same_deploy_again_changes_nothing() {
    let again = building_beside().restart();
    expect(&again, "ready", &["refuse"]);
    match again.effects.as_slice() {
        [(_, Effect::Refuse { refusal })] => {
            assert!(matches!(refusal, Refusal::Already { .. }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stop_ends_the_rollout() {
    let stopped = building_beside().stop();
    expect(&stopped, "stopping", &["cancel", "stop"]);
    assert_eq!(outcome(&stopped), (2, &RolloutOutcome::Stopped));
    let stopped = stopped.stop_finished();
    expect(&stopped, "stopped", &[]);
    // What was deployed last is what a start runs.
    assert_eq!(numbers(&stopped.start()), (2, 2));
}

#[test]
fn a_crash_during_the_build_goes_on_with_the_rollout() {
    let crashed = building_beside().exited('c', 1);
    expect(&crashed, "stopping", &["cancel", "stop"]);
    let building = crashed.stop_finished();
    expect(&building, "building", &["folders"]);
    assert_eq!(numbers(&building), (2, 2));
    let back = build_failed(building.folders());
    assert_eq!(started_image(&back), &image('b'));
}

#[test]
fn a_host_that_starts_looks_before_it_builds() {
    let told = building_beside().event(host_started());
    expect(&told, "ready", &["cancel", "status", "folders"]);
    let op = told.effects[1].0;
    let folders = told.op();
    let result = Ok(InstanceStatus::Running(common::container('c')));
    let seen = told.event(Event::InstanceObserved { op, result });
    let op = folders;
    let building = seen.event(Event::FoldersEnsured { op, result: Ok(()) });
    expect(&building, "ready", &["build"]);
    let told = building_beside().event(host_started_with_orphan());
    expect(&told, "stopping", &["cancel", "stop"]);
    assert_eq!(numbers(&told), (2, 2));
}

#[test]
fn a_question_without_answer_comes_before_the_build() {
    let told = building_beside().event(host_started());
    let (question, folders) = (told.effects[1].0, told.op());
    let building = told.event(Event::FoldersEnsured {
        op: folders,
        result: Ok(()),
    });
    let op = question;
    let asked = building.wait(60_000).event(Event::DeadlinePassed { op });
    expect(&asked, "ready", &["cancel", "cancel", "status", "folders"]);
}

#[test]
fn somebody_can_roll_back_to_any_revision_that_is_kept() {
    let second = replacing().started('d').wake();
    assert_eq!(second.program.previous_revision(), Some(RevisionNumber(1)));
    let back = roll_back(second.clone(), 1);
    expect(&back, "ready", &["folders"]);
    let back = back.folders().built('b').stop_finished();
    assert_eq!(started_image(&back), &image('b'));
    // If that one does not come up any more, the second is started again.
    let failed = start_failed(back, not_ready()).stop_finished();
    assert_eq!(started_image(&failed), &image('e'));

    for revision in [7, 2] {
        let refused = roll_back(second.clone(), revision);
        expect(&refused, "ready", &["refuse"]);
    }
}

#[test]
fn a_roll_back_to_what_runs_only_ends_the_build() {
    let kept = roll_back(building_beside(), 1);
    expect(&kept, "ready", &["cancel"]);
    assert_eq!(numbers(&kept), (1, 1));
    let by = RevisionNumber(1);
    assert_eq!(outcome(&kept), (2, &RolloutOutcome::Superseded { by }));
    // Without a build beside it, nothing changes.
    expect(&roll_back(kept, 1), "ready", &["refuse"]);
}

#[test]
fn a_roll_back_without_a_number_undoes_the_last_deploy() {
    let previous = |walk: &Walk| walk.program.previous_revision().map(|it| it.0);
    assert_eq!(previous(&settled()), None);
    assert_eq!(previous(&building_beside()), Some(1));
    assert_eq!(previous(&replacing()), Some(1));
    let second = replacing().started('d').wake();
    assert_eq!(previous(&second), Some(1));
    assert_eq!(previous(&deployed(second, 'f').folders()), Some(2));
}

#[test]
fn a_roll_back_is_taken_in_every_state() {
    let revision = RevisionNumber(9);
    let states = [
        Walk::new(program()),
        Walk::new(program()).building(),
        Walk::new(program()).starting(),
        settled(),
        settled().stop(),
        settled().stop().stop_finished(),
        settled().exited('c', 1).stop_finished(),
    ];
    for walk in states {
        let state = walk.state();
        let unknown = walk
            .clone()
            .event(Event::UserRollBackRequested { revision });
        expect(&unknown, state, &["refuse"]);
        let known = roll_back(walk, 1);
        assert_eq!(known.asked() == ["refuse"], state == "ready", "{state}");
        Lifecycle::invariants(&known.program).unwrap();
    }
    let removed = settled().delete().stop_finished().removed();
    expect(&roll_back(removed, 1), "removed", &["refuse"]);
}

#[test]
fn a_manifest_alone_needs_no_other_image() {
    let mut source = source('a', RestartPolicy::OnFailure);
    let manifest = Arc::make_mut(&mut source.manifest);
    manifest.env.insert("LEVEL".into(), "debug".into());
    let changed = stored(settled(), source);
    assert_eq!(changed.program.image, Some(image('b')));
    assert_eq!(numbers(&changed), (1, 2));
}

#[test]
fn a_first_deploy_that_fails_goes_to_error() {
    let failed = build_failed(Walk::new(program()).building());
    expect(&failed, "error", &[]);
    let failed = start_failed(Walk::new(program()).starting(), not_ready());
    match &failed.program.state {
        State::Stopping(held) => assert!(matches!(held.then, AfterStop::Fail { .. })),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deploy_of_what_was_stopped_starts_nothing_else() {
    let stopped = settled().stop().stop_finished();
    let deployed = stored(stopped, source('e', RestartPolicy::OnFailure)).start();
    let failed = build_failed(deployed.folders());
    expect(&failed, "error", &[]);
}

#[test]
fn a_crash_loop_is_left_by_a_deploy_and_come_back_to() {
    let crashed = settled().exited('c', 1).stop_finished();
    let deployed = stored(crashed, source('e', RestartPolicy::OnFailure)).start();
    let failed = start_failed(deployed.folders().built('e'), not_ready());
    assert_eq!(started_image(&failed.stop_finished()), &image('b'));
}

#[test]
fn the_newest_ten_and_what_runs_are_kept() {
    let mut walk = settled();
    for digit in "0123456789def".chars() {
        walk = stored(walk, source(digit, RestartPolicy::OnFailure));
        Lifecycle::invariants(&walk.program).unwrap();
    }
    let kept: Vec<u64> = revisions(&walk).iter().map(|it| it.number.0).collect();
    assert_eq!(kept[0], 1, "what runs");
    assert_eq!(kept[1..], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
}

#[test]
fn a_rollout_that_was_forgotten_meanwhile_changes_nothing() {
    let mut walk = building_beside();
    let op = walk.op();
    for digit in "0123456789d".chars() {
        walk = stored(walk, source(digit, RestartPolicy::OnFailure));
    }
    let result = Ok(image('e'));
    let built = walk.event(Event::BuildFinished { op, result });
    Lifecycle::invariants(&built.program).unwrap();
}

#[test]
fn programs_of_older_journals_become_revision_1() {
    let mut old = program_with(RestartPolicy::OnFailure);
    old.rules = Rules::First;
    old.revisions = None;
    let ready = Walk::new(old).ready().wait(SETTLED_MS);
    let told = ready.clone().event(host_started());
    assert_eq!(numbers(&told), (1, 1));
    let first = revisions(&told).get(RevisionNumber(1)).unwrap();
    assert!(first.is_good);
    assert_eq!(first.image, Some(image('b')));
    // Source that waited for a restart is revision 2.
    let waiting = stored(ready, source('e', RestartPolicy::OnFailure));
    let told = waiting.event(host_started());
    assert_eq!(numbers(&told), (1, 2));
    assert_eq!(exit(0).logs.len(), 1);
}

#[test]
fn a_host_that_was_away_settles_nothing_that_it_did_not_see() {
    let told = replacing().started('d').wait(3 * SETTLED_MS);
    let told = told.event(host_started());
    expect(&told, "ready", &["status"]);
    let op = told.op();
    let gone = told.clone().event(Event::InstanceObserved {
        op,
        result: Ok(InstanceStatus::Absent),
    });
    assert_eq!(outcome_kind(&gone), "settled before", "it has no end yet");
    let running = told.event(Event::InstanceObserved {
        op,
        result: Ok(InstanceStatus::Running(common::container('d'))),
    });
    let settled = running.wake();
    assert_eq!(outcome(&settled), (2, &RolloutOutcome::Settled));
    // It vanished through no fault of its own, so it is tried again first, and its failure leads back.
    let again = gone.stop_finished().wake();
    assert_eq!(started_image(&again), &image('e'));
    let back = start_failed(again, not_ready()).stop_finished();
    assert_eq!(started_image(&back), &image('b'));
}

/// How the last rollout ended, if one did.
fn outcome_kind(walk: &Walk) -> &'static str {
    match revisions(walk).last_rollout() {
        None => "settled before",
        Some(_) => "ended",
    }
}

#[test]
fn an_end_that_the_host_hears_of_late_goes_back() {
    let crashed = replacing().started('d').wait(3 * SETTLED_MS);
    let crashed = crashed.event(host_started()).exited('d', 1);
    assert_eq!(started_image(&crashed.stop_finished()), &image('b'));
}

#[test]
fn a_service_of_always_that_ends_at_once_goes_back() {
    let mut source = source('e', RestartPolicy::Always);
    Arc::make_mut(&mut source.manifest).readiness = Readiness::None { port: 8080 };
    let up = stored(settled(), source).restart().folders().built('e');
    let ended = up.stop_finished().started('d').wait(50).exited('d', 0);
    assert_eq!(started_image(&ended.stop_finished()), &image('b'));
}

#[test]
fn without_retries_every_failure_goes_back() {
    let never = Walk::new(program_with(RestartPolicy::Never)).ready().wake();
    let up = stored(never, source('e', RestartPolicy::Never)).restart();
    let starting = up.folders().built('e').stop_finished();
    let message = String::from("connection refused");
    let failed = start_failed(starting, Cause::RuntimeUnavailable { message });
    assert_eq!(started_image(&failed.stop_finished()), &image('b'));
}

#[test]
fn what_is_stored_and_not_started_changes_no_retry() {
    let mut source = source('e', RestartPolicy::OnFailure);
    Arc::make_mut(&mut source.manifest).give_up_after = Some(1);
    let mut walk = stored(settled(), source);
    for _ in 0..3 {
        walk = walk.exited('c', 1).stop_finished();
        expect(&walk, "error", &["retry"]);
        walk = walk.wake().started('c');
    }
}

#[test]
fn a_roll_back_takes_back_what_was_only_stored() {
    let stored = stored(settled(), source('e', RestartPolicy::OnFailure));
    assert_eq!(numbers(&stored), (1, 2));
    let back = roll_back(stored, 1);
    expect(&back, "ready", &[]);
    assert_eq!(numbers(&back), (1, 1));
}

#[test]
fn an_image_that_may_be_of_another_source_is_not_taken_over() {
    let mut old = program_with(RestartPolicy::OnFailure);
    old.rules = Rules::First;
    old.revisions = None;
    let mut ready = stored(
        Walk::new(old).ready(),
        source('e', RestartPolicy::OnFailure),
    );
    // Older hosts did not note which source an instance was of.
    ready.program.instance_build = None;
    let told = ready.event(host_started());
    assert_eq!(told.program.image, None);
    let first = revisions(&told).get(RevisionNumber(1)).unwrap();
    assert_eq!(first.image, None);
}

#[test]
fn a_rollout_that_was_stopped_stays_stopped() {
    let stopped = replacing().stop().stop_finished();
    let next = stored(stopped, source('f', RestartPolicy::OnFailure)).start();
    assert_eq!(outcome(&next), (2, &RolloutOutcome::Stopped));
}

/// The digits of the trees, or the numbers of the images, of a program.
fn builds(builds: std::collections::BTreeSet<&hersh_program::BuildId>) -> Vec<char> {
    let last = |build: &hersh_program::BuildId| build.as_str().chars().last();
    builds.into_iter().filter_map(last).collect()
}

#[test]
fn the_trees_and_images_of_every_revision_are_kept() {
    let third = stored(
        replacing().started('d').wake(),
        source('f', RestartPolicy::OnFailure),
    );
    let program = &third.program;
    assert_eq!(builds(program.kept_builds()), ['a', 'e', 'f']);
    let images: Vec<_> = program.kept_images().into_iter().cloned().collect();
    assert_eq!(images, [image('b'), image('e')]);
    // Two good ones, of which the older is what a failure of the newer goes back to.
    assert_eq!(builds(program.needed_builds()), ['a', 'e', 'f']);
    let fourth = third.restart().folders().built('f').stop_finished();
    let fourth = fourth.started('d').wake();
    assert_eq!(builds(fourth.program.kept_builds()), ['a', 'e', 'f']);
    assert_eq!(builds(fourth.program.needed_builds()), ['e', 'f']);
    let images: Vec<_> = fourth
        .program
        .needed_images()
        .into_iter()
        .cloned()
        .collect();
    assert_eq!(images, [image('e'), image('f')]);
}

#[test]
fn what_may_come_by_itself_is_the_plan_and_its_fallback() {
    let numbers = |walk: &Walk, now_ms: u64| -> Vec<u64> {
        let to_come = walk.program.revisions_to_come(now_ms);
        to_come.iter().map(|revision| revision.number.0).collect()
    };
    let up = replacing().started('d');
    let since_ms = up.now_ms;
    assert_eq!(numbers(&up, since_ms), [2, 1]);
    assert_eq!(up.program.settled_at_ms(), Some(since_ms + SETTLED_MS));
    assert_eq!(numbers(&up, since_ms + SETTLED_MS), [2]);
    let fallback = |walk: &Walk, of: u64| {
        let fallback = walk.program.fallback_of(RevisionNumber(of));
        fallback.map(|revision| revision.number.0)
    };
    assert_eq!(fallback(&settled(), 2), Some(1));
    assert_eq!(fallback(&settled().stop().stop_finished(), 2), None);
    let resting = settled().stop().stop_finished();
    assert_eq!(numbers(&resting, since_ms), [0_u64; 0]);
    assert_eq!(resting.program.wanted_revision(), Some(RevisionNumber(1)));
    assert_eq!(RevisionNumber(7).to_string(), "7");
}

#[test]
fn a_program_of_the_first_rules_has_no_revisions() {
    let mut old = program();
    old.rules = Rules::First;
    old.revisions = None;
    let ready = Walk::new(old).ready();
    assert_eq!(ready.program.current_revision(), None);
    assert_eq!(ready.program.previous_revision(), None);
    assert!(ready.program.revisions_to_come(0).is_empty());
    assert_eq!(builds(ready.program.needed_builds()), ['a']);
}

#[test]
fn a_roll_back_to_what_is_on_its_way_takes_a_deploy_back() {
    let source = source('f', RestartPolicy::OnFailure);
    for under_way in [
        building_beside(),
        building_beside().built('e'),
        roll_back(settled().stop(), 1),
    ] {
        let planned = match under_way.program.state.rollout() {
            Some(rollout) => rollout.revision.0,
            None => under_way.program.current_revision().unwrap().0,
        };
        let newer = stored(under_way, source.clone());
        let back = roll_back(newer.clone(), planned);
        assert_eq!(back.asked(), [""; 0], "it is no refusal");
        assert_eq!(
            back.program.wanted_revision(),
            Some(RevisionNumber(planned))
        );
        assert_eq!(back.program.state, newer.program.state);
        let again = roll_back(back, planned);
        assert_eq!(again.asked(), ["refuse"]);
    }
}

#[test]
fn what_a_failed_stop_may_have_left_is_stopped_before_a_start() {
    let walk = Walk::new(program()).building().stop();
    let op = walk.op();
    let result = Err(common::stop_failed());
    let failed = walk.event(Event::StopFinished { op, result });
    assert_eq!(failed.state(), "error");
    let again = failed.start();
    assert_eq!((again.state(), again.asked()), ("stopping", vec!["stop"]));
    assert_eq!(again.stop_finished().state(), "building");
}
