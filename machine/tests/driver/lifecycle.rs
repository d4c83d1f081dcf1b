//! Sending, answering, watching and stopping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hersh_machine::{
    Capacity, Stepper,
    driver::{
        CallError, Clock, Config, Driver, Handle, MemoryJournal, SendError, SystemClock, TokioClock,
    },
};

use crate::{
    common::{Desk, Effect, Event, JOB_MS, Office, ask, pass},
    scene::{Clerk, diary, log, spawn, spawn_with, start},
};

fn note(text: &str) -> Event {
    Event::Note(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_hands_the_event_back() {
    let clerk = Clerk::new();
    let capacity = Capacity {
        control: 1,
        user: 1,
        data: 1,
    };
    let config = Config {
        capacity,
        ..Config::default()
    };
    // Spawned and not yet run: nothing is taken from the mailbox.
    let desk = spawn_with(&clerk, MemoryJournal::default(), config);
    let late = || Event::Late(hersh_machine::OpId(1));
    for event in [Event::Refuse, note("n"), late()] {
        desk.send(event.clone()).unwrap();
        assert_eq!(desk.send(event.clone()), Err(SendError::QueueFull(event)));
    }
    let full = desk.call(Event::Refuse).await;
    assert_eq!(full, Err(CallError::QueueFull(Event::Refuse)));
    assert!(full.unwrap_err().to_string().contains("full"));
}

#[tokio::test(start_paused = true)]
async fn control_comes_first_and_then_the_user() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.send(note("data")).unwrap();
    desk.send(ask("quick")).unwrap();
    desk.send(Event::Late(hersh_machine::OpId(9))).unwrap();
    let seen = log(&desk, 4).await;
    assert_eq!(seen, ["late op-9", "ask quick", "done quick", "data"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_gets_the_replies_and_sees_its_state() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    let answer = desk.call(Event::Refuse).await.unwrap();
    assert_eq!(answer.replies, [Effect::Answer(String::from("no"))]);
    desk.call(note("seen")).await.unwrap();
    assert_eq!(desk.with_state(|desk| desk.log.len()), 1);
    assert!(clerk.diary().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_states_and_never_the_newest() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    let mut states = desk.subscribe();
    let first = states.generation();
    for text in ["a", "b", "c"] {
        desk.call(note(text)).await.unwrap();
    }
    let newest = states.changed().await.unwrap();
    assert_eq!(newest.log, ["a", "b", "c"]);
    assert!(states.generation() > first);
    desk.send(Event::Close).unwrap();
    assert!(states.changed().await.unwrap().closed);
    assert_eq!(states.changed().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_machine_ends_its_loop() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    let last = desk.clone();
    desk.send(ask("hang")).unwrap();
    let (closed, after) = tokio::join!(desk.call(Event::Close), last.call(ask("after")));
    assert!(closed.is_ok());
    assert_eq!(after, Err(CallError::Stopped(Some(ask("after")))));
    desk.stopped().await;
    assert!(desk.is_stopped());
    assert!(desk.state().closed);
    assert_eq!(
        desk.send(Event::Refuse),
        Err(SendError::Stopped(Event::Refuse))
    );
    let refused = desk.call(Event::Refuse).await;
    assert_eq!(refused, Err(CallError::Stopped(Some(Event::Refuse))));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_loop_while_an_effect_hangs() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    desk.call(ask("deaf")).await.unwrap();
    diary(&clerk, 1).await;
    desk.stop();
    desk.stopped().await;
    desk.stop();
    assert_eq!(desk.state().log, ["ask deaf"]);
    assert!(matches!(
        desk.send(Event::Refuse),
        Err(SendError::Stopped(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn stop_before_the_first_turn_ends_the_loop() {
    let desk = spawn(&Clerk::new());
    let call = desk.call(Event::Refuse);
    desk.stop();
    assert!(matches!(call.await, Err(CallError::Stopped(Some(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_loop_is_a_stopped_one() {
    let driver = Driver::new(
        Stepper::<Office>::new(Desk::default()),
        Clerk::new(),
        MemoryJournal::default(),
    );
    let (desk, run) = driver.start();
    desk.send(Event::Refuse).unwrap();
    let waiting = desk.call(note("never"));
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("nobody runs it"),
        () = std::future::ready(()) => {}
    }
    drop(run);
    assert!(desk.is_stopped());
    assert!(matches!(waiting.await, Err(CallError::Stopped(Some(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_reducer_that_panics_closes_its_machine_only() {
    let clerk = Clerk::new();
    let (broken, whole) = (spawn(&clerk), spawn(&clerk));
    assert_eq!(
        broken.call(Event::Explode).await,
        Err(CallError::Stopped(None))
    );
    assert!(matches!(broken.send(note("a")), Err(SendError::Stopped(_))));
    assert!(whole.call(note("b")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_long_burst_lets_other_tasks_run() {
    let clerk = Clerk::new();
    let desk = spawn(&clerk);
    for _ in 0..1_000 {
        desk.send(note("x")).unwrap();
    }
    let seen = tokio::spawn({
        let desk = desk.clone();
        async move {
            let mut seen = Vec::new();
            while seen.last() != Some(&1_000) {
                seen.push(desk.with_state(|desk| desk.log.len()));
                tokio::task::yield_now().await;
            }
            seen
        }
    });
    let seen = seen.await.unwrap();
    assert!(
        seen.iter().any(|length| (1..1_000).contains(length)),
        "{seen:?}"
    );
    log(&desk, 1_000).await;
}

/// A clock that shows what it is told to.
#[derive(Clone)]
struct Jumpy(Arc<AtomicU64>);

impl Clock for Jumpy {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn spawn_at(now_ms: u64, stepper: Stepper<Office>) -> (Jumpy, Handle<Office>) {
    let clock = Jumpy(Arc::new(AtomicU64::new(now_ms)));
    let driver = Driver::new(stepper, Clerk::new(), MemoryJournal::default());
    (clock.clone(), start(driver.with_clock(clock)))
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_is_noticed_within_a_minute() {
    let (clock, desk) = spawn_at(10_000_000, Stepper::new(Desk::default()));
    desk.call(ask("deaf for long")).await.unwrap();
    let before = tokio::time::Instant::now();
    pass(Duration::from_secs(90)).await;
    assert_eq!(desk.state().log.len(), 1);
    clock.0.store(99_000_000, Ordering::Relaxed);
    log(&desk, 2).await;
    assert!(before.elapsed() <= Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_and_is_set_right_holds_no_deadline_up() {
    let ahead_ms = 4 * 365 * 24 * 3_600_000;
    let job = Duration::from_millis(JOB_MS);
    let (clock, desk) = spawn_at(ahead_ms, Stepper::new(Desk::default()));
    let before = tokio::time::Instant::now();
    desk.call(ask("deaf")).await.unwrap();
    clock.0.store(1_000_000, Ordering::Relaxed);
    log(&desk, 2).await;
    assert_eq!(before.elapsed(), job);
    desk.stop();

    // Nor does it after a restart: what was due in years is due in the time that was left.
    let mut stepper = Stepper::new(Desk::default());
    stepper.step_unchecked(ask("deaf"), ahead_ms);
    let (_clock, desk) = spawn_at(1_000_000, stepper);
    let before = tokio::time::Instant::now();
    log(&desk, 2).await;
    assert_eq!(before.elapsed(), job);
}

#[tokio::test(start_paused = true)]
async fn clocks_show_milliseconds_since_the_epoch() {
    assert!(SystemClock.now_ms() > 1_600_000_000_000);
    let clock = TokioClock::starting_at(5);
    tokio::time::advance(Duration::from_millis(3)).await;
    assert_eq!(clock.now_ms(), 8);
}

#[test]
fn no_event_and_no_wake_up_is_lost_between_many_senders() {
    const SENDERS: usize = 8;
    const EACH: usize = 500;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clerk = Clerk::new();
        let desk = spawn(&clerk);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let desk = desk.clone();
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let event = if number % 10 == sender {
                            ask("quick")
                        } else {
                            note("n")
                        };
                        while let Err(CallError::QueueFull(_)) = desk.call(event.clone()).await {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        let asked = SENDERS * EACH / 10;
        let seen = log(&desk, SENDERS * EACH + asked).await;
        let done = seen.iter().filter(|line| *line == "done quick").count();
        assert_eq!(done, asked);
        desk.stop();
        desk.stopped().await;
    });
}
