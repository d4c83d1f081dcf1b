//! When a failed program is tried again, for how long, and what counts as its own failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::{collections::BTreeSet, sync::Arc};

use common::{Walk, host_started, program, program_with, source};
use hersh_program::{
    Cause, Event, Exit, ExitReason, Program, RestartPolicy, Rules, State, recovery,
};

const HOUR_MS: u64 = 60 * 60_000;

fn new() -> Walk {
    Walk::new(program())
}

/// A program that gives up after `most` failures of its own.
fn giving_up_after(most: u32) -> Walk {
    let mut source = source('a', RestartPolicy::OnFailure);
    Arc::make_mut(&mut source.manifest).give_up_after = Some(most);
    Walk::new(Program::new(common::id(), source, 7))
}

/// A program as hosts of the first rules made it.
fn of_first_rules() -> Walk {
    let mut program = program();
    program.rules = Rules::First;
    Walk::new(program)
}

/// The time until the retry that a program in Error waits for.
fn retry_ms(walk: &Walk) -> Option<u64> {
    match &walk.program.state {
        State::Error(failed) => failed.retry.map(|retry| retry.due_ms - walk.now_ms),
        other => panic!("{other:?}"),
    }
}

fn unavailable() -> Cause {
    Cause::RuntimeUnavailable {
        message: String::from("connection refused"),
    }
}

/// Fails the start that is under way.
fn start_failed(walk: Walk, cause: Cause) -> Walk {
    let op = walk.op();
    walk.event(Event::StartFailed { op, cause }).stop_finished()
}

/// Crashes a Ready program after it ran for `ran_ms`, and waits for its retry.
fn crash(walk: Walk, ran_ms: u64) -> Walk {
    walk.wait(ran_ms).exited('c', 1).stop_finished().wake()
}

#[test]
fn a_crash_loop_is_retried_for_500_hours() {
    let mut walk = new().ready();
    let end_ms = walk.now_ms + 500 * HOUR_MS;
    let mut starts = 0;
    while walk.now_ms < end_ms {
        walk = walk.wait(20_000).exited('c', 1).stop_finished();
        let wait = retry_ms(&walk).expect("a retry, however often it failed");
        assert!(wait <= recovery::CAP_MS);
        walk = walk.wake().started('c');
        starts += 1;
    }
    // With at most 5 minutes and 20 seconds for a round there are over 5,600 rounds.
    assert!(starts > 5_600, "{starts}");
    assert_eq!(walk.program.attempts, starts);
    assert!(walk.program.restarts.last_hour(walk.now_ms) >= 10);
}

#[test]
fn retries_back_off_up_to_the_cap() {
    let mut walk = new().ready();
    for attempt in 0..12 {
        walk = walk.exited('c', 1).stop_finished();
        let full = (recovery::BASE_MS << attempt).min(recovery::CAP_MS);
        let wait = retry_ms(&walk).expect("a retry");
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
        walk = walk.wake().started('c');
    }
}

#[test]
fn give_up_after_bounds_the_retries() {
    let mut walk = giving_up_after(3).ready();
    for _ in 0..3 {
        walk = crash(walk, 1).started('c');
    }
    let given_up = walk.exited('c', 1).stop_finished();
    assert_eq!(retry_ms(&given_up), None);
    // A command gives it all its attempts again.
    let walk = given_up.start().folders().built('b').started('c');
    assert!(retry_ms(&walk.exited('c', 1).stop_finished()).is_some());
}

#[test]
fn an_engine_away_for_an_hour_costs_no_attempt() {
    let mut walk = giving_up_after(1).starting();
    let back_ms = walk.now_ms + HOUR_MS;
    while walk.now_ms < back_ms {
        walk = start_failed(walk, unavailable());
        assert!(retry_ms(&walk).expect("a retry") <= recovery::OUTSIDE_CAP_MS);
        walk = walk.wake();
    }
    assert!(walk.now_ms <= back_ms + recovery::OUTSIDE_CAP_MS);
    let up = walk.started('c');
    assert_eq!((up.program.attempts, up.program.waits), (0, 0));
    // The attempt of its own is still there.
    assert!(retry_ms(&up.exited('c', 1).stop_finished()).is_some());
}

#[test]
fn causes_outside_of_the_program_use_up_no_attempt() {
    let message = || String::from("away");
    let outside = [
        unavailable(),
        Cause::RegistryUnavailable {
            message: message(),
            logs: Vec::new(),
        },
        Cause::DiskFull { message: message() },
        Cause::HostRestarted,
        Cause::Vanished,
        Cause::StopFailed { message: message() },
        Cause::Internal { message: message() },
    ];
    for cause in outside {
        let failed = start_failed(giving_up_after(1).starting(), cause.clone());
        assert!(retry_ms(&failed).is_some(), "{cause}");
        assert_eq!(failed.program.attempts, 0, "{cause}");
    }
    let stopped = Exit {
        reason: ExitReason::StoppedFromOutside { code: 137 },
        logs: Vec::new(),
    };
    let ready = new().ready();
    let end = common::end_of(&ready.program, common::container('c'), stopped);
    let failed = ready.event(end).stop_finished();
    assert_eq!(failed.program.attempts, 0);
    assert!(retry_ms(&failed).is_some());
}

#[test]
fn what_only_a_person_can_mend_is_not_retried() {
    let message = || String::from("no");
    let lasting = [
        Cause::NotRunnable { message: message() },
        Cause::StateQuotaExceeded,
        Cause::DiskFilled,
        Cause::EndedBeforeReady { logs: Vec::new() },
    ];
    for cause in lasting {
        let failed = start_failed(new().starting(), cause.clone());
        assert_eq!(retry_ms(&failed), None, "{cause}");
    }
}

#[test]
fn a_build_waits_for_its_registry() {
    let building = new().building();
    let op = building.op();
    let cause = Cause::RegistryUnavailable {
        message: String::from("no answer"),
        logs: Vec::new(),
    };
    let failed = building.event(Event::BuildFinished {
        op,
        result: Err(cause),
    });
    assert!(retry_ms(&failed).is_some());
    let again = failed.wake();
    assert_eq!(again.state(), "building");
    assert_eq!(again.folders().asked(), ["build"]);
}

#[test]
fn a_good_revision_that_does_not_build_is_tried_again() {
    let settled = new().ready().wake();
    let building = settled.stop().stop_finished().building();
    let op = building.op();
    let cause = Cause::BuildFailed {
        message: String::from("no such image"),
        logs: Vec::new(),
    };
    let result = Err(cause);
    let failed = building.event(Event::BuildFinished { op, result });
    assert!(retry_ms(&failed).is_some());
}

#[test]
fn a_finished_job_is_no_failure() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure] {
        let starting = Walk::new(program_with(policy)).starting();
        let ended = start_failed(starting, Cause::Finished { logs: Vec::new() });
        match &ended.program.state {
            State::Stopped(stopped) => assert!(stopped.last_exit.is_some()),
            other => panic!("{other:?}"),
        }
        assert_eq!(ended.program.attempts, 0);
    }
}

#[test]
fn a_long_run_forgets_earlier_attempts() {
    let walk = crash(new().ready(), 1).started('c');
    assert_eq!(walk.program.attempts, 1);
    let short = walk
        .clone()
        .wait(recovery::RESET_AFTER_MS - 1)
        .exited('c', 1);
    assert_eq!(short.program.attempts, 1);
    let long = walk.wait(recovery::RESET_AFTER_MS).exited('c', 1);
    assert_eq!(long.program.attempts, 0);
}

#[test]
fn restarts_that_a_person_asked_for_are_not_counted() {
    let restarted = new().ready().restart().stop_finished().started('c');
    assert_eq!(restarted.program.restarts.last_hour(restarted.now_ms), 0);
    let crashed = crash(restarted, 1);
    assert_eq!(crashed.program.restarts.last_hour(crashed.now_ms), 1);
}

#[test]
fn back_off_grows_to_its_cap_and_differs_between_programs() {
    assert!(recovery::back_off_ms(1, 0) <= recovery::BASE_MS);
    for attempts in [9, 20, 64, u32::MAX] {
        let wait = recovery::back_off_ms(1, attempts);
        assert!((recovery::CAP_MS / 2..=recovery::CAP_MS).contains(&wait));
    }
    let waits: BTreeSet<_> = (0..100)
        .map(|seed| recovery::back_off_ms(seed, 5))
        .collect();
    assert!(waits.len() > 90);
}

#[test]
fn never_means_never() {
    let walk = Walk::new(program_with(RestartPolicy::Never)).ready();
    assert_eq!(retry_ms(&walk.exited('c', 1).stop_finished()), None);
}

#[test]
fn first_rules_give_up_after_six_failures_of_any_kind() {
    let mut walk = of_first_rules().starting();
    for attempt in 0..recovery::FIRST_RULES_ATTEMPTS {
        walk = start_failed(walk, unavailable());
        let full = recovery::BASE_MS << attempt;
        let wait = retry_ms(&walk).expect("a retry");
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
        walk = walk.wake();
    }
    let given_up = start_failed(walk, unavailable());
    assert_eq!(retry_ms(&given_up), None);
    assert_eq!(given_up.program.restarts.last_hour(given_up.now_ms), 0);
}

#[test]
fn newer_rules_begin_with_the_host_that_follows_them() {
    let mut walk = of_first_rules().ready();
    for _ in 0..recovery::FIRST_RULES_ATTEMPTS {
        walk = crash(walk, 1).started('c');
    }
    let told = walk.event(host_started());
    assert_eq!(told.program.rules, Rules::Second);
    assert!(retry_ms(&told.exited('c', 1).stop_finished()).is_some());
    let older = Event::HostStarted {
        numbers_instances: true,
        rules: Rules::First,
        orphan: None,
    };
    assert_eq!(new().event(older).program.rules, Rules::Second);
}
