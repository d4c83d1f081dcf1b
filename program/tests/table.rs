//! The transition table, row by row.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{
    NOW_MS, Walk, container, end_of, exit, host_started, id, image, program, program_with, source,
    stop_failed,
};
use hersh_machine::Machine;
use hersh_program::{
    AfterStop, BUILD_QUEUE_MS, BuildStep, Cause, Effect, Event, Exit, ExitReason, HANDLER_SLACK_MS,
    InstanceStatus, Lifecycle, Manifest, OpId, Readiness, Refusal, RestartPolicy, Rules,
    START_QUEUE_MS, Starting, State, StopStep, recovery,
};

fn new() -> Walk {
    Walk::new(program())
}

fn then(walk: &Walk) -> &AfterStop {
    match &walk.program.state {
        State::Stopping(held) => &held.then,
        other => panic!("{other:?}"),
    }
}

fn cause(walk: &Walk) -> &Cause {
    match &walk.program.state {
        State::Error(held) => &held.cause,
        other => panic!("{other:?}"),
    }
}

fn retry_ms(walk: &Walk) -> Option<u64> {
    match &walk.program.state {
        State::Error(held) => held.retry.map(|retry| retry.due_ms - walk.now_ms),
        other => panic!("{other:?}"),
    }
}

fn refusal(walk: &Walk) -> &Refusal {
    match walk.effects.as_slice() {
        [(_, Effect::Refuse { refusal })] => refusal,
        other => panic!("{other:?}"),
    }
}

fn expect(walk: &Walk, state: &str, asked: &[&str]) {
    assert_eq!((walk.state(), walk.asked().as_slice()), (state, asked));
}

fn stopped() -> Walk {
    new().ready().stop().stop_finished()
}

/// In Error without a retry.
fn build_failed() -> Walk {
    let walk = new().building();
    let op = walk.op();
    let result = Err(Cause::BuildFailed {
        message: String::from("no such file"),
        logs: vec![String::from("COPY x")],
    });
    walk.event(Event::BuildFinished { op, result })
}

/// In Error with a retry.
fn crashed() -> Walk {
    new().ready().exited('c', 3).stop_finished()
}

fn bystander() -> OpId {
    OpId(999)
}

#[test]
fn created_stopped_and_error_start_with_folders_then_build() {
    for walk in [new(), stopped(), build_failed()] {
        let walk = walk.start();
        expect(&walk, "building", &["folders"]);
        let walk = walk.folders();
        expect(&walk, "building", &["build"]);
    }
    let walk = crashed().start();
    expect(&walk, "building", &["cancel", "folders"]);
    assert_eq!(walk.program.attempts, 0);
}

#[test]
fn restart_of_a_program_at_rest_is_a_start() {
    for walk in [new(), stopped(), build_failed()] {
        expect(&walk.restart(), "building", &["folders"]);
    }
}

#[test]
fn building_fails_with_its_cause_and_asks_for_nothing_more() {
    let walk = new().start();
    let op = walk.op();
    let failed = Cause::FoldersFailed {
        message: String::from("read-only file system"),
    };
    let result = Err(failed.clone());
    let walk = walk.event(Event::FoldersEnsured { op, result });
    expect(&walk, "error", &["retry"]);
    assert_eq!(cause(&walk), &failed);

    let walk = build_failed();
    expect(&walk, "error", &[]);
    assert!(matches!(cause(&walk), Cause::BuildFailed { logs, .. } if logs.len() == 1));
}

#[test]
fn building_past_its_deadline_is_given_up_and_stopped() {
    for walk in [new().start(), new().building()] {
        let walk = walk.wake();
        expect(&walk, "stopping", &["cancel", "stop"]);
        let walk = walk.stop_finished();
        expect(&walk, "error", &[]);
        assert!(matches!(
            cause(&walk),
            Cause::BuildTimedOut { after_ms: 900_000 }
        ));
    }
}

#[test]
fn a_builds_deadline_lies_behind_its_turn_and_time() {
    let (deadline_ms, _) = Lifecycle::wake(&new().start().program).unwrap();
    let own_ms = 900_000 + HANDLER_SLACK_MS;
    assert_eq!(deadline_ms, NOW_MS + BUILD_QUEUE_MS + own_ms);
}

#[test]
fn the_build_gets_the_time_that_folders_left() {
    let walk = new().start().wait(100_000).folders();
    let timeouts: Vec<_> = walk
        .effects
        .iter()
        .map(|(_, effect)| match effect {
            Effect::BuildImage { timeout_ms, .. } => *timeout_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(timeouts, [800_000]);
}

#[test]
fn a_built_image_is_started() {
    let walk = new().starting();
    expect(&walk, "starting", &["start"]);
    assert_eq!(walk.program.image, Some(image('b')));
}

#[test]
fn a_started_container_is_ready() {
    let walk = new().ready();
    expect(&walk, "ready", &[]);
    assert_eq!(walk.program.state.container(), Some(&container('c')));
}

#[test]
fn a_failed_start_stops_before_it_is_an_error() {
    let walk = new().starting();
    let op = walk.op();
    let failed = Cause::ContractViolated {
        contract: String::from("read-only root"),
        message: String::from("the root is writable"),
    };
    let cause_of_start = failed.clone();
    let walk = walk.event(Event::StartFailed {
        op,
        cause: cause_of_start,
    });
    expect(&walk, "stopping", &["stop"]);
    let walk = walk.stop_finished();
    assert_eq!(cause(&walk), &failed);
    assert_eq!(retry_ms(&walk), None);
}

#[test]
fn what_can_never_run_is_not_tried_again() {
    for policy in [RestartPolicy::OnFailure, RestartPolicy::Always] {
        let walk = Walk::new(program_with(policy)).starting();
        let op = walk.op();
        let message = String::from("/app: uid 65532 may not execute it");
        let cause_of_start = Cause::NotRunnable { message };
        let walk = walk.event(Event::StartFailed {
            op,
            cause: cause_of_start.clone(),
        });
        let walk = walk.stop_finished();
        expect(&walk, "error", &[]);
        assert_eq!(cause(&walk), &cause_of_start);
        assert_eq!(retry_ms(&walk), None);
    }
}

#[test]
fn a_clean_end_before_ready_is_tried_again_under_always_only() {
    let logs = vec![String::from("in the background now")];
    let exit = Exit {
        reason: ExitReason::Code(0),
        logs: logs.clone(),
    };
    let probe = Readiness::Tcp { port: 1 };
    let went_away = Cause::before_ready(&exit, &probe);
    assert_eq!(went_away, Cause::EndedBeforeReady { logs });
    for (policy, retries) in [
        (RestartPolicy::Never, false),
        (RestartPolicy::OnFailure, false),
        (RestartPolicy::Always, true),
    ] {
        let walk = Walk::new(program_with(policy)).starting();
        let (op, cause_of_start) = (walk.op(), went_away.clone());
        let walk = walk.event(Event::StartFailed {
            op,
            cause: cause_of_start,
        });
        let walk = walk.stop_finished();
        assert_eq!(cause(&walk), &went_away);
        assert_eq!(retry_ms(&walk).is_some(), retries, "{policy:?}");
    }
}

#[test]
fn a_job_that_is_done_before_its_start_is_stopped_with_its_end() {
    let exit = Exit {
        reason: ExitReason::Code(0),
        logs: vec![String::from("done")],
    };
    let done = Cause::before_ready(&exit, &Readiness::None { port: 8080 });
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure] {
        let walk = Walk::new(program_with(policy)).starting();
        let (op, cause) = (walk.op(), done.clone());
        let walk = walk.event(Event::StartFailed { op, cause }).stop_finished();
        expect(&walk, "stopped", &[]);
        let State::Stopped(held) = &walk.program.state else {
            panic!("{:?}", walk.program.state);
        };
        assert_eq!(held.last_exit.as_deref(), Some(&exit));
    }
    let walk = Walk::new(program_with(RestartPolicy::Always)).starting();
    let (op, cause_of_start) = (walk.op(), done.clone());
    let walk = walk.event(Event::StartFailed {
        op,
        cause: cause_of_start,
    });
    let walk = walk.stop_finished();
    assert_eq!(cause(&walk), &done);
    assert!(retry_ms(&walk).is_some());
}

#[test]
fn other_ends_before_ready_are_what_they_always_are() {
    let failed = exit(3);
    for readiness in [Readiness::None { port: 1 }, Readiness::Tcp { port: 1 }] {
        let cause = Cause::before_ready(&failed, &readiness);
        assert_eq!(cause, Cause::from(&failed));
    }
}

#[test]
fn a_starts_deadline_lies_behind_its_turn_and_time() {
    let walk = new().starting();
    let (deadline_ms, _) = Lifecycle::wake(&walk.program).unwrap();
    let own_ms = 60_000 + HANDLER_SLACK_MS;
    assert_eq!(deadline_ms, walk.now_ms + START_QUEUE_MS + own_ms);
}

#[test]
fn a_start_past_its_deadline_is_given_up_and_stopped() {
    let walk = new().starting().wake();
    expect(&walk, "stopping", &["cancel", "stop"]);
    let walk = walk.stop_finished();
    assert!(matches!(cause(&walk), Cause::NotReadyInTime { .. }));
    assert!(retry_ms(&walk).is_some());
}

#[test]
fn an_exit_during_the_start_counts_for_what_comes_up() {
    let walk = new().starting();
    let op = walk.op();
    let walk = walk.exited('c', 9);
    expect(&walk, "starting", &[]);
    let started = |digit| Event::InstanceStarted {
        op,
        started: hersh_program::StartResult {
            container: container(digit),
        },
    };
    let died = walk.clone().event(started('c'));
    expect(&died, "stopping", &["stop"]);
    assert!(
        matches!(then(&died), AfterStop::Fail { cause } if matches!(**cause, Cause::Exited { code: 9, .. }))
    );
    let lives = walk.event(started('d'));
    expect(&lives, "ready", &[]);
}

#[test]
fn remembered_exits_are_bounded_and_the_newest_stay() {
    let mut walk = new().starting();
    let op = walk.op();
    for digit in "0123456789ab".chars() {
        walk = walk.exited(digit, 1);
    }
    match &walk.program.state {
        State::Starting(held) => assert_eq!(held.exits.len(), Starting::MAX_EXITS),
        other => panic!("{other:?}"),
    }
    let started = hersh_program::StartResult {
        container: container('b'),
    };
    expect(
        &walk.event(Event::InstanceStarted { op, started }),
        "stopping",
        &["stop"],
    );
}

#[test]
fn stop_restart_and_delete_give_up_what_is_under_way() {
    for walk in [new().start(), new().building(), new().starting()] {
        let under_way = walk.op();
        for (walk, wish) in [
            (walk.clone().stop(), AfterStop::Stop { last_exit: None }),
            (walk.clone().restart(), AfterStop::Start),
            (walk.clone().delete(), AfterStop::Remove),
        ] {
            expect(&walk, "stopping", &["cancel", "stop"]);
            assert_eq!(walk.effects[0].1, Effect::Cancel { op: under_way });
            assert_eq!(then(&walk), &wish);
        }
    }
}

#[test]
fn ready_stops_restarts_and_is_removed() {
    let walk = new().ready().stop();
    expect(&walk, "stopping", &["stop"]);
    expect(&walk.stop_finished(), "stopped", &[]);

    let walk = new().ready().restart();
    expect(&walk, "stopping", &["stop"]);
    let walk = walk.stop_finished();
    expect(&walk, "starting", &["start"]);
    expect(&walk.started('d'), "ready", &[]);

    let walk = new().ready().delete();
    expect(&walk, "stopping", &["stop"]);
    let walk = walk.stop_finished();
    expect(&walk, "stopping", &["remove"]);
    expect(&walk.removed(), "removed", &[]);
}

#[test]
fn a_clean_exit_stops_and_the_dead_container_is_removed() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure] {
        let walk = Walk::new(program_with(policy)).ready().exited('c', 0);
        expect(&walk, "stopping", &["stop"]);
        let walk = walk.stop_finished();
        expect(&walk, "stopped", &[]);
        assert!(matches!(&walk.program.state, State::Stopped(held) if held.last_exit.is_some()));
    }
}

#[test]
fn always_starts_again_after_a_clean_exit_and_does_not_spin() {
    let walk = Walk::new(program_with(RestartPolicy::Always)).ready();
    let long = walk.clone().wait(recovery::SETTLED_RUN_MS).exited('c', 0);
    expect(&long, "stopping", &["stop"]);
    expect(&long.stop_finished(), "starting", &["start"]);
    let short = walk.wait(recovery::SETTLED_RUN_MS - 1).exited('c', 0);
    let short = short.stop_finished();
    expect(&short, "error", &["retry"]);
    assert!(matches!(cause(&short), Cause::Exited { code: 0, .. }));
}

#[test]
fn what_the_engine_took_down_is_up_again_by_policy() {
    let reason = ExitReason::StoppedFromOutside { code: 0 };
    let stopped = Exit {
        reason,
        logs: vec![],
    };
    let told = |walk: Walk| {
        let event = end_of(&walk.program, container('c'), stopped.clone());
        walk.event(event)
    };
    let found = |walk: Walk| {
        let walk = walk.event(host_started());
        let (op, exit) = (walk.op(), stopped.clone());
        let result = Ok(InstanceStatus::Exited(container('c'), exit));
        walk.event(Event::InstanceObserved { op, result })
    };
    let ends: [&dyn Fn(Walk) -> Walk; 2] = [&told, &found];
    for end in ends {
        for policy in [RestartPolicy::OnFailure, RestartPolicy::Always] {
            let walk = Walk::new(program_with(policy)).ready();
            let long = end(walk.clone().wait(recovery::SETTLED_RUN_MS)).stop_finished();
            expect(&long, "starting", &["start"]);
            assert_eq!(long.program.attempts, 0);
            // An engine that never knows better must not make a program spin.
            let short = end(walk).stop_finished();
            expect(&short, "error", &["retry"]);
            assert!(matches!(
                cause(&short),
                Cause::StoppedFromOutside { code: 0, .. }
            ));
        }
        let walk = Walk::new(program_with(RestartPolicy::Never)).ready();
        let walk = end(walk.wait(recovery::SETTLED_RUN_MS)).stop_finished();
        expect(&walk, "error", &[]);
    }
}

#[test]
fn a_failed_run_is_an_error_with_its_cause() {
    for (reason, named) in [
        (ExitReason::Code(3), "exited with code 3"),
        (ExitReason::OutOfMemory, "ran out of memory"),
        (
            ExitReason::OutOfProcesses { code: 2 },
            "ended with code 2 after it was refused one more process or thread: raise pids under [resources] in hersh.toml, or start fewer at once",
        ),
        (
            ExitReason::NotRunnable {
                message: String::from("/app is not there"),
            },
            "it can't be run: /app is not there",
        ),
        (ExitReason::StateQuota, "state is larger than its limit"),
        (
            ExitReason::DiskFull,
            "it was filling the disk, so the host ended it: keep less in /state, lower its limit, or make room on the disk",
        ),
        (
            ExitReason::Vanished,
            "the container disappeared and nobody saw it end",
        ),
    ] {
        let exit = Exit {
            reason,
            logs: vec![String::from("boom")],
        };
        let walk = new().ready();
        let event = end_of(&walk.program, container('c'), exit);
        let walk = walk.event(event);
        expect(&walk, "stopping", &["stop"]);
        let walk = walk.stop_finished();
        assert_eq!(cause(&walk).to_string(), named);
    }
    let killed = new().ready().exited('c', 137).stop_finished();
    let logs = vec![String::from("last line")];
    let (code, signal) = (137, Some(9));
    assert_eq!(cause(&killed), &Cause::Exited { code, signal, logs });
}

#[test]
fn under_the_first_rules_a_restart_stops_before_it_builds() {
    let mut walk = new();
    walk.program.rules = Rules::First;
    walk.program.revisions = None;
    let source = source('e', RestartPolicy::OnFailure);
    let walk = walk.ready().event(common::replaced(source));
    expect(&walk, "ready", &[]);
    let walk = walk.restart().stop_finished();
    expect(&walk, "building", &["folders"]);
}

#[test]
fn a_failed_stop_is_an_error() {
    // What was to be at rest is not started by a retry; what was to run is.
    for walk in [new().ready().stop(), new().ready().delete()] {
        let walk = stop_fails(walk);
        expect(&walk, "error", &[]);
        assert_eq!(cause(&walk), &stop_failed());
    }
    for walk in [new().ready().restart(), new().ready().exited('c', 1)] {
        expect(&stop_fails(walk), "error", &["retry"]);
    }
}

fn stop_fails(walk: Walk) -> Walk {
    let op = walk.op();
    let result = Err(stop_failed());
    walk.event(Event::StopFinished { op, result })
}

#[test]
fn a_failed_stop_hides_no_cause_and_adds_no_retry() {
    let not_stopped = |walk: &Walk| match &walk.program.state {
        State::Error(held) => held.not_stopped.as_deref().cloned(),
        other => panic!("{other:?}"),
    };
    let exit = Exit {
        reason: ExitReason::StateQuota,
        logs: vec![],
    };
    let walk = new().ready();
    let too_large = end_of(&walk.program, container('c'), exit);
    let walk = stop_fails(walk.event(too_large));
    expect(&walk, "error", &[]);
    assert_eq!(cause(&walk), &Cause::StateQuotaExceeded);
    assert_eq!(not_stopped(&walk), Some(stop_failed()));
    // A person's start stops first what is left.
    let walk = walk.start();
    expect(&walk, "stopping", &["stop"]);
    expect(&walk.stop_finished(), "building", &["folders"]);

    let walk = stop_fails(new().ready().exited('c', 1));
    expect(&walk, "error", &["retry"]);
    assert!(matches!(cause(&walk), Cause::Exited { code: 1, .. }));
    assert_eq!(not_stopped(&walk), Some(stop_failed()));
    let walk = walk.wake();
    expect(&walk, "stopping", &["stop"]);
    expect(&walk.stop_finished(), "starting", &["start"]);
}

#[test]
fn an_image_that_is_gone_is_built_again() {
    let walk = new().starting();
    let (op, image) = (walk.op(), image('b'));
    let gone = Cause::ImageGone { image };
    let walk = walk.event(Event::StartFailed { op, cause: gone });
    let walk = walk.stop_finished();
    expect(&walk, "error", &["retry"]);
    expect(&walk.wake(), "building", &["folders"]);
}

#[test]
fn a_run_goes_by_the_manifest_that_it_was_begun_with() {
    let mut newer = source('a', RestartPolicy::Never);
    let mut manifest = Manifest::clone(&newer.manifest);
    manifest.timeouts.stop_grace_ms = 1;
    manifest.timeouts.start_ms = 1;
    newer.manifest = manifest.into();
    let replace = |walk: Walk| {
        let source = newer.clone();
        walk.event(common::replaced(source))
    };
    let older = new().program.source.manifest.clone();
    let grace_ms = |walk: &Walk| match walk.effects.as_slice() {
        [(_, Effect::StopInstances { grace_ms, .. })] => *grace_ms,
        other => panic!("{other:?}"),
    };

    let walk = replace(new().ready());
    assert_eq!(walk.program.manifest(), &older);
    let walk = walk.exited('c', 1);
    assert_eq!(grace_ms(&walk), older.timeouts.stop_grace_ms);
    let walk = walk.stop_finished();
    expect(&walk, "error", &["retry"]);
    assert_eq!(walk.program.instance_manifest, None);
    // So does a retry. The next start that somebody asks for goes by the newer one.
    let walk = walk.wake().started('d');
    assert_eq!(walk.program.manifest(), &older);
    let walk = walk.restart().folders().built('b').stop_finished();
    let walk = walk.started('d');
    assert_eq!(walk.program.manifest(), &newer.manifest);
    let walk = walk.exited('d', 1);
    assert_eq!(grace_ms(&walk), 1);
    expect(&walk.stop_finished(), "error", &[]);

    // So do deadlines, and a build that fails.
    let old = Lifecycle::wake(&new().starting().program).unwrap().0;
    let walk = replace(new().starting()).event(host_started());
    assert_eq!(Lifecycle::wake(&walk.program).unwrap().0, old);
    let walk = replace(new().building());
    let (op, message) = (new().building().op(), String::from("bang"));
    let walk = walk.event(Event::HandlerPanicked { op, message });
    expect(&walk, "error", &["retry"]);
}

#[test]
fn what_may_run_is_known_until_it_is_stopped() {
    assert_eq!(new().building().program.instance_manifest, None);
    for walk in [new().starting(), new().ready(), new().ready().stop()] {
        assert!(walk.program.instance_manifest.is_some());
    }
    assert_eq!(stopped().program.instance_manifest, None);
    let left = stop_fails(new().ready().stop());
    assert!(left.program.instance_manifest.is_some());
    assert_eq!(left.stop().stop_finished().program.instance_manifest, None);
}

#[test]
fn a_stop_past_its_deadline_is_an_error() {
    let walk = new().ready().stop().wake();
    expect(&walk, "error", &["cancel"]);
    assert!(matches!(cause(&walk), Cause::StopFailed { .. }));
    let walk = new().delete().wake();
    expect(&walk, "error", &["cancel"]);
    assert!(matches!(cause(&walk), Cause::RemoveFailed { .. }));
}

#[test]
fn the_last_wish_wins_and_delete_beats_all() {
    let stopping = new().ready().stop();
    let walk = stopping.clone().start();
    assert_eq!(then(&walk), &AfterStop::Start);
    assert!(walk.effects.is_empty());
    let walk = walk.stop();
    assert_eq!(then(&walk), &AfterStop::Stop { last_exit: None });
    let walk = walk.restart();
    assert_eq!(then(&walk), &AfterStop::Start);
    let walk = walk.delete();
    assert_eq!(then(&walk), &AfterStop::Remove);
    for walk in [
        walk.clone().start(),
        walk.clone().stop(),
        walk.clone().restart(),
    ] {
        assert_eq!(then(&walk), &AfterStop::Remove);
        assert_eq!(refusal(&walk), &Refusal::BeingRemoved);
    }
    let failing = new().ready().exited('c', 1);
    assert_eq!(then(&failing.clone().start()), &AfterStop::Start);
    assert_eq!(then(&failing.stop()), &AfterStop::Stop { last_exit: None });
}

#[test]
fn a_due_retry_starts_what_ran() {
    let walk = crashed();
    expect(&walk, "error", &["retry"]);
    expect(&walk.wake(), "starting", &["start"]);

    // A newer revision waits for somebody to start it.
    let source = source('e', RestartPolicy::OnFailure);
    let walk = crashed().event(common::replaced(source));
    expect(&walk.wake(), "starting", &["start"]);
}

#[test]
fn under_the_first_rules_a_retry_takes_the_newest_source() {
    let mut walk = new();
    walk.program.rules = Rules::First;
    walk.program.revisions = None;
    let crashed = walk.ready().exited('c', 3).stop_finished();
    expect(&crashed.clone().wake(), "starting", &["start"]);
    let source = source('e', RestartPolicy::OnFailure);
    let replaced = crashed.event(common::replaced(source));
    expect(&replaced.wake(), "building", &["folders"]);
}

#[test]
fn error_stops_and_is_removed_through_stopping() {
    let walk = crashed().stop();
    expect(&walk, "stopping", &["cancel", "stop"]);
    expect(&walk.stop_finished(), "stopped", &[]);
    let walk = build_failed().stop();
    expect(&walk, "stopping", &["stop"]);
    let walk = crashed().delete();
    expect(&walk, "stopping", &["cancel", "stop"]);
    let walk = walk.stop_finished();
    expect(&walk, "stopping", &["remove"]);
}

#[test]
fn created_and_stopped_are_removed_at_once() {
    for walk in [new(), stopped()] {
        let walk = walk.delete();
        expect(&walk, "stopping", &["remove"]);
        match &walk.program.state {
            State::Stopping(held) => assert_eq!(held.step, StopStep::Files),
            other => panic!("{other:?}"),
        }
        expect(&walk.removed(), "removed", &[]);
    }
}

#[test]
fn a_failed_removal_is_an_error_that_can_be_removed_again() {
    let walk = new().delete();
    let op = walk.op();
    let message = String::from("busy");
    let result = Err(Cause::RemoveFailed { message });
    let walk = walk.event(Event::Removed { op, result });
    expect(&walk, "error", &[]);
    expect(&walk.delete(), "stopping", &["stop"]);
}

#[test]
fn a_wish_already_fulfilled_is_answered_already() {
    for walk in [
        new().stop(),
        stopped().stop(),
        new().start().start(),
        new().building().start(),
        new().starting().start(),
        new().ready().start(),
        new().ready().stop().stop(),
        new().ready().restart().start(),
        new().ready().restart().restart(),
        new().ready().delete().delete(),
        new().delete().removed().delete(),
    ] {
        assert!(matches!(refusal(&walk), Refusal::Already { .. }));
    }
    let gone = new().delete().removed();
    for walk in [gone.clone().start(), gone.clone().stop(), gone.restart()] {
        assert_eq!(refusal(&walk), &Refusal::BeingRemoved);
        assert_eq!(walk.program.state, State::Removed);
    }
}

#[test]
fn outcomes_of_other_operations_change_nothing() {
    let op = bystander();
    let message = String::from("late");
    let started = hersh_program::StartResult {
        container: container('9'),
    };
    let stale = [
        Event::FoldersEnsured { op, result: Ok(()) },
        Event::BuildFinished {
            op,
            result: Ok(image('9')),
        },
        Event::InstanceStarted { op, started },
        Event::StartFailed {
            op,
            cause: stop_failed(),
        },
        Event::StopFinished { op, result: Ok(()) },
        Event::InstanceObserved {
            op,
            result: Ok(InstanceStatus::Absent),
        },
        Event::DeadlinePassed { op },
        Event::RetryDue { op },
        Event::Removed { op, result: Ok(()) },
        Event::HandlerPanicked { op, message },
    ];
    for walk in all_states() {
        for event in &stale {
            let next = walk.clone().event(event.clone());
            assert_eq!(next.program, walk.program, "{event:?}");
            assert!(next.effects.is_empty());
        }
    }
}

fn all_states() -> Vec<Walk> {
    vec![
        new(),
        new().start(),
        new().building(),
        new().starting(),
        new().ready(),
        new().ready().event(host_started()),
        new().ready().stop(),
        new().ready().delete(),
        new().ready().delete().stop_finished(),
        stopped(),
        build_failed(),
        crashed(),
        new().delete().removed(),
    ]
}

fn is_being_removed(walk: &Walk) -> bool {
    matches!(&walk.program.state, State::Stopping(held) if held.then == AfterStop::Remove)
}

#[test]
fn exits_of_other_containers_change_nothing_but_in_starting() {
    for walk in all_states() {
        let next = walk.clone().exited('9', 1);
        assert!(next.effects.is_empty());
        if walk.state() != "starting" {
            assert_eq!(next.program, walk.program);
        }
    }
}

#[test]
fn a_new_source_is_taken_in_every_state() {
    for walk in all_states() {
        let source = source('e', RestartPolicy::Never);
        let next = walk.clone().event(common::replaced(source.clone()));
        assert_eq!(next.program.state, walk.program.state);
        if walk.state() == "removed" || is_being_removed(&walk) {
            assert_eq!(refusal(&next), &Refusal::BeingRemoved);
            assert_eq!(next.program, walk.program);
        } else {
            assert_eq!(next.program.source, source);
            assert_eq!(next.program.image, None);
            assert!(next.effects.is_empty());
        }
    }
    // A build under way goes on with what it began, and its image is not taken for the new one.
    let source = source('e', RestartPolicy::Never);
    let walk = new().start();
    let op = walk.op();
    let walk = walk.event(common::replaced(source));
    let walk = walk.event(Event::FoldersEnsured { op, result: Ok(()) });
    match &walk.program.state {
        State::Building(held) => {
            assert_eq!(held.step, BuildStep::Image);
            assert_eq!(held.source.build.as_str(), "build-aaaaaaaaaaaa");
        }
        other => panic!("{other:?}"),
    }
    let walk = walk.built('b');
    expect(&walk, "starting", &["start"]);
    assert_eq!(walk.program.image, None);
}

#[test]
fn a_new_manifest_of_the_same_tree_keeps_the_image() {
    let source = source('a', RestartPolicy::Always);
    let walk = new().ready().event(common::replaced(source));
    assert_eq!(walk.program.image, Some(image('b')));
    let building = walk.restart();
    expect(&building, "ready", &["folders"]);
    let built = building.folders().built('b');
    expect(&built.stop_finished(), "starting", &["start"]);
}

#[test]
fn a_panic_is_a_failure_of_its_operation() {
    let panics = |walk: Walk| {
        let op = walk.op();
        let message = String::from("index out of bounds");
        walk.event(Event::HandlerPanicked { op, message })
    };
    for walk in [new().start(), new().building(), new().ready().restart()] {
        let walk = panics(walk);
        expect(&walk, "error", &["retry"]);
        assert!(matches!(cause(&walk), Cause::Internal { .. }));
    }
    expect(&panics(new().starting()), "stopping", &["stop"]);
    expect(&panics(new().ready().stop()), "error", &[]);
    expect(&panics(crashed()), "starting", &["start"]);
    expect(&panics(new().ready().event(host_started())), "ready", &[]);
}

#[test]
fn a_host_start_gives_what_is_under_way_its_time_again() {
    for walk in [
        new().start(),
        new().starting(),
        new().ready().stop(),
        new().delete(),
    ] {
        let deadline = |walk: &Walk| Lifecycle::wake(&walk.program).unwrap().0;
        let old = deadline(&walk);
        let walk = walk.wait(3_600_000).event(host_started());
        assert!(walk.effects.is_empty());
        assert_eq!(deadline(&walk), old + 3_600_000);
    }
    for walk in [
        new(),
        stopped(),
        build_failed(),
        crashed(),
        new().delete().removed(),
    ] {
        let next = walk.clone().event(host_started());
        assert_eq!(next.program, walk.program);
    }
}

#[test]
fn a_host_start_asks_whether_a_ready_program_still_runs() {
    let asked = new().ready().event(host_started());
    expect(&asked, "ready", &["status"]);
    let answer = |result| {
        let op = asked.op();
        asked.clone().event(Event::InstanceObserved { op, result })
    };
    let kept = answer(Ok(InstanceStatus::Running(container('c'))));
    expect(&kept, "ready", &[]);
    assert_eq!(kept.program, new().ready().program);
    for gone in [
        InstanceStatus::Absent,
        InstanceStatus::Running(container('d')),
        InstanceStatus::Exited(container('d'), exit(0)),
        InstanceStatus::Exited(container('c'), exit(4)),
    ] {
        let walk = answer(Ok(gone));
        expect(&walk, "stopping", &["stop"]);
        assert!(matches!(then(&walk), AfterStop::Fail { .. }));
    }
    let finished = answer(Ok(InstanceStatus::Exited(container('c'), exit(0))));
    assert!(matches!(
        then(&finished),
        AfterStop::Stop { last_exit: Some(_) }
    ));
    let message = String::from("connection refused");
    let unknown = answer(Err(Cause::RuntimeUnavailable { message }));
    expect(&unknown, "ready", &[]);
    expect(&unknown.wake(), "ready", &["cancel", "status"]);
    // Leaving Ready takes the question back.
    expect(&asked.clone().stop(), "stopping", &["cancel", "stop"]);
    expect(&asked.event(host_started()), "ready", &["cancel", "status"]);
}

#[test]
fn the_walk_begins_now() {
    assert_eq!(new().now_ms, NOW_MS);
    assert_eq!(new().program.id, id());
}
