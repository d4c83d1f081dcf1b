//! Coming back after a crash of the host.

use std::{sync::Arc, time::Duration};

use hersh_machine::{
    OpId, Stepper,
    driver::{Config, Driver, MemoryJournal, TokioClock},
};

use crate::{
    common::{Desk, Event, Office, ask, pass},
    scene::{Clerk, START_MS, log, resume, start},
};

/// A state machine that asked for `jobs` and then crashed.
fn crashed(jobs: &[&str]) -> Stepper<Office> {
    let mut stepper = Stepper::new(Desk::default());
    for (after_ms, job) in jobs.iter().enumerate() {
        stepper.step(ask(job), START_MS + after_ms as u64).unwrap();
    }
    stepper
}

fn back(stepper: Stepper<Office>, clerk: &Arc<Clerk>) -> hersh_machine::driver::Handle<Office> {
    resume(stepper, clerk, MemoryJournal::default(), Config::default())
}

#[tokio::test(start_paused = true)]
async fn open_operations_are_recovered_in_order() {
    let clerk = Clerk::new();
    let desk = back(crashed(&["was done", "lost", "slow 5"]), &clerk);
    let seen = log(&desk, 6).await;
    assert_eq!(seen[3..], ["done was done", "done lost", "done slow 5"]);
    let expected = [
        String::from("recovers was done of 1000000"),
        String::from("recovers lost of 1000001"),
        String::from("begins lost"),
        String::from("ends lost"),
        String::from("recovers slow 5 of 1000002"),
        String::from("begins slow 5"),
        String::from("ends slow 5"),
    ];
    assert_eq!(clerk.diary(), expected);
}

#[tokio::test(start_paused = true)]
async fn new_operations_wait_for_recovered_ones_and_get_fresh_ids() {
    let clerk = Clerk::new();
    let desk = back(crashed(&["gate"]), &clerk);
    desk.call(ask("new")).await.unwrap();
    clerk.gate.add_permits(1);
    log(&desk, 4).await;
    assert_eq!(clerk.diary().last().unwrap(), "ends new");
    let again = desk
        .call(Event::Done(OpId(2), String::new()))
        .await
        .unwrap();
    assert_eq!(again.seq, 0);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_can_be_cancelled() {
    let clerk = Clerk::new();
    let desk = back(crashed(&["slow to tell", "waits"]), &clerk);
    pass(Duration::from_millis(1)).await;
    desk.call(Event::Drop(OpId(1))).await.unwrap();
    desk.call(Event::Drop(OpId(2))).await.unwrap();
    desk.call(ask("next")).await.unwrap();
    let seen = log(&desk, 4).await;
    assert_eq!(seen[2..], ["ask next", "done next"]);
    let expected = [
        "recovers slow to tell of 1000000",
        "begins next",
        "ends next",
    ];
    assert_eq!(clerk.diary(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_meanwhile_is_noticed_at_once() {
    let clerk = Clerk::new();
    let mut stepper = Stepper::new(Desk::default());
    stepper.step(ask("deaf"), 1).unwrap();
    let desk = back(stepper, &clerk);
    let seen = log(&desk, 2).await;
    assert_eq!(seen[1], "late op-1");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_operation_is_not_recovered() {
    let clerk = Clerk::new();
    let mut stepper = crashed(&["a", "b"]);
    stepper.step(Event::Drop(OpId(1)), START_MS).unwrap();
    let desk = back(stepper, &clerk);
    log(&desk, 3).await;
    assert_eq!(clerk.diary()[0], "recovers b of 1000001");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recovered_before_the_first_event() {
    let clerk = Clerk::new();
    let stepper = crashed(&["a", "b"]);
    let driver = Driver::new(stepper, Arc::clone(&clerk), MemoryJournal::default())
        .with_clock(TokioClock::starting_at(START_MS))
        .with_first_event(Event::Drop(OpId(1)));
    let desk = start(driver);
    let seen = log(&desk, 3).await;
    assert_eq!(seen[2], "done b");
    let expected = ["recovers b of 1000001", "begins b", "ends b"];
    assert_eq!(clerk.diary(), expected);
}
