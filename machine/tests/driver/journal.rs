//! Durable first: before effects, before readers, before the answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hersh_machine::{
    RecordOf, Stepper,
    driver::{CallError, Config, Journal, JournalError, Right},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    common::{Desk, Event, Office, ask, pass},
    scene::{Clerk, diary, log, spawn_with},
};

/// Stores in memory what the gate lets through; fails while `failures` are left.
#[derive(Clone)]
struct Book(Arc<Pages>);

struct Pages {
    records: Mutex<Vec<RecordOf<Office>>>,
    states: Mutex<Vec<Desk>>,
    failures: Mutex<u32>,
    attempts: Mutex<Vec<Instant>>,
    gate: Semaphore,
}

impl Book {
    fn open() -> Self {
        Self::gated(Semaphore::MAX_PERMITS)
    }

    fn gated(permits: usize) -> Self {
        Self(Arc::new(Pages {
            records: Mutex::default(),
            states: Mutex::default(),
            failures: Mutex::default(),
            attempts: Mutex::default(),
            gate: Semaphore::new(permits),
        }))
    }

    fn fail(&self, times: u32) {
        *self.0.failures.lock().unwrap() = times;
    }

    fn records(&self) -> Vec<RecordOf<Office>> {
        self.0.records.lock().unwrap().clone()
    }

    fn attempts(&self) -> usize {
        self.0.attempts.lock().unwrap().len()
    }
}

impl Journal<Office> for Book {
    async fn append(&mut self, record: &RecordOf<Office>) -> Result<(), JournalError> {
        self.0.attempts.lock().unwrap().push(Instant::now());
        self.0.gate.acquire().await.unwrap().forget();
        let mut failures = self.0.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(JournalError::Full);
        }
        self.0.records.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn append_by(
        &mut self,
        record: &RecordOf<Office>,
        right: Option<&Right>,
    ) -> Result<(), JournalError> {
        if right.is_some_and(|right| right.downcast_ref::<Lapsed>().is_some()) {
            return Err(JournalError::Revoked);
        }
        self.append(record).await
    }

    fn stored(&mut self, state: &Desk) {
        self.0.states.lock().unwrap().push(state.clone());
    }
}

/// A right that does not hold any more.
struct Lapsed;

fn failed() -> JournalError {
    JournalError::Full
}

#[tokio::test(start_paused = true)]
async fn a_record_is_durable_before_anything_comes_of_it() {
    let clerk = Clerk::new();
    let book = Book::gated(0);
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    let call = tokio::spawn({
        let desk = desk.clone();
        async move { desk.call(ask("quick")).await }
    });
    pass(Duration::from_secs(1)).await;
    assert!(!call.is_finished());
    assert!(clerk.diary().is_empty());
    assert!(desk.state().log.is_empty());
    book.0.gate.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap().seq, 1);
    assert_eq!(desk.state().log, ["ask quick"]);
    // The effect runs now; its outcome waits for the journal again.
    diary(&clerk, 2).await;
    assert_eq!(desk.state().log.len(), 1);
    book.0.gate.add_permits(1);
    log(&desk, 2).await;
    let mut folded = Stepper::<Office>::new(Desk::default());
    folded.fold(book.records()).unwrap();
    assert_eq!(folded.state(), &desk.state());
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_told_the_state_that_each_record_led_to() {
    let clerk = Clerk::new();
    let book = Book::open();
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    book.fail(1);
    assert!(desk.call(ask("quick")).await.is_err());
    assert_eq!(*book.0.states.lock().unwrap(), []);
    desk.call(ask("quick")).await.unwrap();
    log(&desk, 2).await;
    let lengths: Vec<usize> = book
        .0
        .states
        .lock()
        .unwrap()
        .iter()
        .map(|it| it.log.len())
        .collect();
    assert_eq!(lengths, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_running_effect_goes_on_while_a_record_is_stored() {
    let clerk = Clerk::new();
    let book = Book::gated(1);
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    desk.call(ask("slow 100")).await.unwrap();
    desk.send(Event::Note(String::from("meanwhile"))).unwrap();
    assert_eq!(diary(&clerk, 2).await[1], "ends slow 100");
    assert_eq!(desk.state().log, ["ask slow 100"]);
    book.0.gate.add_permits(2);
    let seen = log(&desk, 3).await;
    assert_eq!(seen[1..], ["meanwhile", "done slow 100"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_is_told_and_nothing_changes() {
    let clerk = Clerk::new();
    let book = Book::open();
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    book.fail(1);
    let refused = desk.call(ask("quick")).await;
    assert_eq!(refused, Err(CallError::Journal(failed())));
    assert!(refused.unwrap_err().to_string().contains("is full"));
    assert!(desk.state().log.is_empty());
    assert!(clerk.diary().is_empty());
    // The next record takes the number of the one that failed.
    assert_eq!(desk.call(ask("quick")).await.unwrap().seq, 1);
    log(&desk, 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_by_a_right_that_lapsed_changes_nothing() {
    let clerk = Clerk::new();
    let book = Book::open();
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    let refused = desk.call_by(ask("quick"), Some(Arc::new(Lapsed))).await;
    assert_eq!(refused, Err(CallError::Journal(JournalError::Revoked)));
    assert!(book.records().is_empty() && desk.state().log.is_empty());
    let taken = desk.call_by(ask("quick"), Some(Arc::new("holds"))).await;
    assert_eq!(taken.unwrap().seq, 1);
    log(&desk, 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_tried_until_it_is_stored_and_callers_are_told() {
    let clerk = Clerk::new();
    let book = Book::open();
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    desk.call(ask("gate")).await.unwrap();
    book.fail(9);
    let before = Instant::now();
    clerk.gate.add_permits(1);
    diary(&clerk, 2).await;
    // Callers get the error at once, whether they were waiting or come now.
    for _ in 0..3 {
        let asked = Instant::now();
        let refused = desk.call(ask("quick")).await;
        assert_eq!(refused, Err(CallError::Journal(failed())));
        assert!(asked.elapsed() < Duration::from_millis(1));
    }
    // What nobody waits for stays.
    desk.send(Event::Note(String::from("kept"))).unwrap();
    let seen = log(&desk, 3).await;
    assert_eq!(seen, ["ask gate", "done gate", "kept"]);
    // 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5 seconds.
    let waited = before.elapsed().as_millis();
    assert!((21_300..21_400).contains(&waited), "{waited} ms");
    assert_eq!(book.attempts(), 12);
    let events: Vec<_> = book
        .records()
        .into_iter()
        .map(|record| record.seq)
        .collect();
    assert_eq!(events, [1, 2, 3]);
    assert!(desk.call(Event::Refuse).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_loop_while_the_journal_hangs_or_fails() {
    let hanging = spawn_with(&Clerk::new(), Book::gated(0), Config::default());
    let call = tokio::spawn({
        let desk = hanging.clone();
        async move { desk.call(ask("quick")).await }
    });
    pass(Duration::from_millis(5)).await;
    hanging.stop();
    hanging.stopped().await;
    assert_eq!(call.await.unwrap(), Err(CallError::Stopped(None)));

    let book = Book::open();
    book.fail(u32::MAX);
    let failing = spawn_with(&Clerk::new(), book, Config::default());
    failing.send(Event::Note(String::from("kept"))).unwrap();
    pass(Duration::from_secs(30)).await;
    failing.stop();
    failing.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_is_not_missed() {
    let clerk = Clerk::new();
    let book = Book::gated(0);
    let desk = spawn_with(&clerk, book.clone(), Config::default());
    let gone = desk.call(ask("quick"));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), gone)
            .await
            .is_err()
    );
    book.0.gate.add_permits(5);
    log(&desk, 2).await;
}
