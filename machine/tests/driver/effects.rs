//! Effects: one at a time, in order, cancelled with care.

use std::time::Duration;

use hersh_machine::{
    OpId,
    driver::{Cancel, Config, MemoryJournal},
};
use tokio::time::Instant;

use crate::{
    common::{Event, JOB_MS, ask},
    scene::{Clerk, diary, log, spawn, spawn_with},
};

#[tokio::test(start_paused = true)]
async fn effects_run_one_at_a_time_in_order() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    for job in ["slow 30", "slow 10", "quick"] {
        desk.send(ask(job)).unwrap();
    }
    let seen = log(&desk, 6).await;
    assert_eq!(seen[3..], ["done slow 30", "done slow 10", "done quick"]);
    let expected = [
        "begins slow 30",
        "ends slow 30",
        "begins slow 10",
        "ends slow 10",
        "begins quick",
        "ends quick",
    ];
    assert_eq!(clerk.diary(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_loop_answers_while_an_effect_runs() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("gate")).await.unwrap();
    let before = Instant::now();
    let answer = desk.call(Event::Note(String::from("hello"))).await.unwrap();
    assert_eq!((answer.seq, answer.replies.len()), (2, 0));
    assert_eq!(before.elapsed(), Duration::ZERO);
    clerk.gate.add_permits(1);
    log(&desk, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_waits_before_the_next_effect_begins() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("tidy")).await.unwrap();
    diary(&clerk, 1).await;
    let before = Instant::now();
    desk.call(Event::Drop(OpId(1))).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    desk.call(ask("next")).await.unwrap();
    let seen = log(&desk, 3).await;
    assert_eq!(seen, ["ask tidy", "ask next", "done next"]);
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    let expected = [
        "begins tidy",
        "tidies tidy",
        "ends tidy",
        "begins next",
        "ends next",
    ];
    assert_eq!(clerk.diary(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_ignores_its_cancellation_is_dropped() {
    for deaf in ["deaf", "moody"] {
        let clerk = Clerk::new();
        let config = Config {
            cancel_grace: Duration::from_secs(7),
            ..Config::default()
        };
        let desk = spawn_with(&clerk, MemoryJournal::default(), config);
        desk.call(ask(deaf)).await.unwrap();
        diary(&clerk, 1).await;
        let before = Instant::now();
        desk.call(Event::Drop(OpId(1))).await.unwrap();
        // A second cancellation of the same operation gives it no more time.
        desk.call(Event::Drop(OpId(1))).await.unwrap();
        desk.call(ask("next")).await.unwrap();
        log(&desk, 3).await;
        assert_eq!(before.elapsed(), Duration::from_secs(7));
        assert_eq!(clerk.diary()[1..], ["begins next", "ends next"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_effect_that_waits_never_begins() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    for job in ["gate", "never", "last"] {
        desk.call(ask(job)).await.unwrap();
    }
    desk.call(Event::Drop(OpId(2))).await.unwrap();
    clerk.gate.add_permits(1);
    log(&desk, 5).await;
    assert!(!clerk.diary().contains(&String::from("begins never")));
}

#[tokio::test(start_paused = true)]
async fn an_effect_cancelled_in_its_own_step_never_begins() {
    let cancel = Cancel::never();
    assert!(!cancel.is_cancelled());
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.send(ask("deaf")).unwrap();
    desk.send(Event::Drop(OpId(1))).unwrap();
    desk.call(ask("next")).await.unwrap();
    log(&desk, 3).await;
    assert_eq!(clerk.diary().last().unwrap(), "ends next");
}

#[tokio::test(start_paused = true)]
async fn an_operation_completed_from_elsewhere_holds_nothing_up() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("hang")).await.unwrap();
    desk.send(Event::Done(OpId(1), String::from("elsewhere")))
        .unwrap();
    desk.send(ask("next")).unwrap();
    let seen = log(&desk, 4).await;
    assert_eq!(
        seen,
        ["ask hang", "done elsewhere", "ask next", "done next"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_becomes_an_event() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    for job in ["panic", "panic late", "panic odd", "next"] {
        desk.send(ask(job)).unwrap();
    }
    let seen = log(&desk, 8).await;
    for line in [
        "panic bang",
        "panic late bang",
        "panic a panic without a message",
        "done next",
    ] {
        assert!(seen.contains(&String::from(line)), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_cancellation_is_discarded() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("panic late")).await.unwrap();
    desk.call(Event::Drop(OpId(1))).await.unwrap();
    desk.call(ask("next")).await.unwrap();
    let seen = log(&desk, 3).await;
    assert_eq!(seen, ["ask panic late", "ask next", "done next"]);
}

#[tokio::test(start_paused = true)]
async fn every_open_operation_ends_by_its_deadline() {
    for job in ["deaf", "silent"] {
        let clerk = Clerk::new();
        let desk = spawn(&clerk);
        let before = Instant::now();
        desk.call(ask(job)).await.unwrap();
        let seen = log(&desk, 2).await;
        assert_eq!(seen[1], "late op-1");
        assert_eq!(before.elapsed(), Duration::from_millis(JOB_MS));
    }
}

#[tokio::test(start_paused = true)]
async fn late_and_duplicated_outcomes_change_nothing() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("quick")).await.unwrap();
    log(&desk, 2).await;
    let twice = Event::Done(OpId(1), String::from("twice"));
    let answer = desk.call(twice).await.unwrap();
    assert_eq!(answer.seq, 0);
    assert_eq!(desk.state().log, ["ask quick", "done quick"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_waiting_effects_close_the_mailbox_until_they_ran() {
    let clerk = Clerk::new();
    let mut config = Config {
        effect_queue: 2,
        ..Config::default()
    };
    config.capacity.user = 4;
    let desk = spawn_with(&clerk, MemoryJournal::default(), config);
    for job in ["gate", "a", "b"] {
        desk.call(ask(job)).await.unwrap();
    }
    // One runs and two wait: from here on events stay in the mailbox until it is full.
    for _ in 0..4 {
        desk.send(Event::Refuse).unwrap();
        tokio::task::yield_now().await;
    }
    assert!(desk.send(Event::Refuse).is_err());
    desk.send(Event::Done(OpId(99), String::from("a stale fact")))
        .unwrap();
    clerk.gate.add_permits(1);
    log(&desk, 6).await;
    desk.call(Event::Refuse).await.unwrap();
}
