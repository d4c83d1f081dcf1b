//! A desk with a scripted handler, and a diary of what the handler did.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hersh_machine::{
    OpId, Stepper,
    driver::{
        Cancel, Clock, Config, Driver, Handle, Handler, Journal, MemoryJournal, Recovery,
        TokioClock,
    },
};
use tokio::sync::Semaphore;

use crate::common::{Desk, Effect, Event, Office, pass};

pub(crate) const START_MS: u64 = 1_000_000;

/// Jobs by name: `slow N` takes N ms, `gate` waits for the gate, `hang` and `deaf` never end
/// (the latter ignores its cancellation), `tidy` cleans up for 5 s when cancelled, `panic` and
/// `panic late` panic, `silent` has no outcome, `moody` panics when it is dropped.
pub(crate) struct Clerk {
    diary: Mutex<Vec<String>>,
    pub(crate) gate: Semaphore,
}

struct Moody;

impl Drop for Moody {
    fn drop(&mut self) {
        panic!("dropped in a bad moment");
    }
}

impl Clerk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            diary: Mutex::new(Vec::new()),
            gate: Semaphore::new(0),
        })
    }

    pub(crate) fn note(&self, text: String) {
        self.diary.lock().unwrap().push(text);
    }

    pub(crate) fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }

    async fn work(&self, job: &str, cancel: &Cancel) {
        if let Some(ms) = job.strip_prefix("slow ") {
            pass(Duration::from_millis(ms.parse().unwrap())).await;
        }
        match job {
            "gate" => self.gate.acquire().await.unwrap().forget(),
            "hang" => cancel.cancelled().await,
            "deaf" | "deaf for long" => std::future::pending().await,
            "moody" => {
                let _moody = Moody;
                std::future::pending::<()>().await;
            }
            "tidy" => {
                cancel.cancelled().await;
                assert!(cancel.is_cancelled());
                self.note(format!("tidies {job}"));
                pass(Duration::from_secs(5)).await;
            }
            "panic" => panic!("bang"),
            "panic late" => {
                pass(Duration::from_millis(1)).await;
                panic!("{}", String::from("late bang"));
            }
            "panic odd" => std::panic::panic_any(7),
            _ => {}
        }
    }
}

impl Handler<Office> for Clerk {
    async fn run(&self, op: OpId, effect: Effect, cancel: Cancel) -> Option<Event> {
        let Effect::Job(job) = effect else {
            panic!("not for a handler: {effect:?}")
        };
        self.note(format!("begins {job}"));
        self.work(&job, &cancel).await;
        self.note(format!("ends {job}"));
        (job != "silent").then_some(Event::Done(op, job))
    }

    async fn recover(&self, op: OpId, effect: &Effect, issued_at_ms: u64) -> Recovery<Event> {
        let Effect::Job(job) = effect else {
            panic!("not for a handler: {effect:?}")
        };
        self.note(format!("recovers {job} of {issued_at_ms}"));
        match job.as_str() {
            "was done" => Recovery::Ended(Event::Done(op, job.clone())),
            "slow to tell" => {
                pass(Duration::from_secs(1)).await;
                Recovery::Rerun
            }
            _ => Recovery::Rerun,
        }
    }

    fn panicked(&self, op: OpId, message: String) -> Event {
        Event::Panicked(op, message)
    }
}

pub(crate) fn spawn(clerk: &Arc<Clerk>) -> Handle<Office> {
    spawn_with(clerk, MemoryJournal::default(), Config::default())
}

pub(crate) fn spawn_with(
    clerk: &Arc<Clerk>,
    journal: impl Journal<Office>,
    config: Config,
) -> Handle<Office> {
    resume(Stepper::new(Desk::default()), clerk, journal, config)
}

pub(crate) fn resume(
    stepper: Stepper<Office>,
    clerk: &Arc<Clerk>,
    journal: impl Journal<Office>,
    config: Config,
) -> Handle<Office> {
    let driver = Driver::new(stepper, Arc::clone(clerk), journal)
        .with_clock(TokioClock::starting_at(START_MS))
        .with_config(config);
    start(driver)
}

/// Runs the loop of `driver` as a task.
pub(crate) fn start(
    driver: Driver<Office, Clerk, impl Journal<Office>, impl Clock>,
) -> Handle<Office> {
    let (handle, run) = driver.start();
    tokio::spawn(run);
    handle
}

/// Waits until the log of the desk has `length` entries, and returns it.
pub(crate) async fn log(handle: &Handle<Office>, length: usize) -> Vec<String> {
    let mut states = handle.subscribe();
    let mut desk = states.current();
    while desk.log.len() < length {
        desk = states.changed().await.expect("a live machine");
    }
    desk.log
}

/// Waits until the diary has `length` entries, and returns it.
pub(crate) async fn diary(clerk: &Clerk, length: usize) -> Vec<String> {
    while clerk.diary().len() < length {
        pass(Duration::from_millis(1)).await;
    }
    clerk.diary()
}
