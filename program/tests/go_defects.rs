//! What the earlier implementation in Go got wrong, and what makes each impossible here.
#![cfg(all(feature = "fake", feature = "tokio"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Walk, end_of, host_started, id, program};
use hersh_machine::{
    Capacity, Stepper,
    driver::{Config, MemoryJournal, SendError, SystemClock, TokioClock},
    sim::Faults,
};
use hersh_program::{
    Cause, CommandError, Event, FakeHandler, FakeWorld, InstanceStatus, Program, RestartPolicy,
    State, Supervisor,
};
use tokio::time::Instant;

fn slow(max_delay_ms: u64) -> Faults {
    Faults {
        max_delay_ms,
        ..Faults::default()
    }
}

fn hanging() -> Faults {
    Faults {
        hang: 100,
        ..Faults::default()
    }
}

fn supervise(program: Program, handler: &Arc<FakeHandler>) -> Supervisor {
    let clock = TokioClock::starting_at(common::NOW_MS);
    let stepper = Stepper::new(program);
    Supervisor::run(
        stepper,
        Arc::clone(handler),
        MemoryJournal::default(),
        clock,
        Config::default(),
    )
}

fn fake(faults: Faults) -> (Arc<FakeHandler>, Supervisor) {
    let handler = Arc::new(FakeHandler::scripted(faults, 5));
    let supervisor = supervise(program(), &handler);
    (handler, supervisor)
}

fn world<T>(handler: &FakeHandler, look: impl FnOnce(&mut FakeWorld) -> T) -> T {
    handler.with_world(look).expect("a scripted handler")
}

/// Waits until the program is in the state of that name.
async fn reach(supervisor: &Supervisor, name: &str) -> Program {
    let mut states = supervisor.subscribe();
    let mut program = states.current();
    while program.state.name() != name {
        program = states.changed().await.expect("a live supervisor");
    }
    program
}

#[tokio::test(start_paused = true)]
async fn restart_restarts() {
    let (handler, supervisor) = fake(slow(100));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    let first = reach(&supervisor, "ready").await.state.container().cloned();
    supervisor.call(Event::UserRestartRequested).await.unwrap();
    assert_eq!(supervisor.state().state.name(), "stopping");
    let second = reach(&supervisor, "ready").await.state.container().cloned();
    assert_ne!(first, second);
    let containers = world(&handler, |world| world.instances(&id()).to_vec());
    assert_eq!(
        containers.first().map(|(_, container)| container),
        second.as_ref()
    );
    assert_eq!(containers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stop_during_starting_leaves_no_container() {
    let (handler, supervisor) = fake(slow(1_000));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    reach(&supervisor, "starting").await;
    let half_started = world(&handler, |world| world.instances(&id()).len());
    assert_eq!(half_started, 1);
    supervisor.call(Event::UserStopRequested).await.unwrap();
    assert_eq!(supervisor.settled().await.state.name(), "stopped");
    world(&handler, |world| assert!(world.instances(&id()).is_empty()));
    // And nothing blocks the next start.
    supervisor.call(Event::UserStartRequested).await.unwrap();
    assert_eq!(supervisor.settled().await.state.name(), "ready");
}

#[test]
fn a_build_never_follows_failed_folders() {
    let walk = Walk::new(program()).start();
    let op = walk.op();
    let message = String::from("disk full");
    let result = Err(Cause::FoldersFailed { message });
    let walk = walk.event(Event::FoldersEnsured { op, result });
    assert_eq!(walk.asked(), ["retry"]);
    assert_eq!(walk.state(), "error");
}

/// A program whose build never ends by itself.
async fn endless_build() -> (Arc<FakeHandler>, Supervisor) {
    let (handler, supervisor) = fake(slow(1_000));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    // The folders are on their way already.
    tokio::task::yield_now().await;
    handler.set_faults(hanging());
    common::pass(Duration::from_secs(60)).await;
    let builds = world(&handler, |world| world.builds());
    assert_eq!((builds, supervisor.state().state.name()), (1, "building"));
    handler.set_faults(slow(100));
    (handler, supervisor)
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_a_build() {
    let (handler, supervisor) = endless_build().await;
    let before = Instant::now();
    supervisor.call(Event::UserStopRequested).await.unwrap();
    assert_eq!(supervisor.state().state.name(), "stopping");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(supervisor.settled().await.state.name(), "stopped");
    assert!(before.elapsed() < Duration::from_secs(1));
    world(&handler, |world| assert_eq!(world.builds(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_build_has_a_time_limit() {
    let before = Instant::now();
    let (handler, supervisor) = endless_build().await;
    let program = reach(&supervisor, "error").await;
    // The fake never tells whether it waits for its turn or builds.
    let queue = Duration::from_millis(hersh_program::BUILD_QUEUE_MS);
    assert!(before.elapsed() <= queue + Duration::from_secs(15 * 60 + 11));
    let State::Error(failed) = program.state else {
        panic!("{:?}", program.state)
    };
    assert!(matches!(*failed.cause, Cause::BuildTimedOut { .. }));
    world(&handler, |world| assert_eq!(world.builds(), 0));
}

#[tokio::test(start_paused = true)]
async fn error_has_a_way_out() {
    for (event, end) in [
        (Event::UserStartRequested, "ready"),
        (Event::UserRestartRequested, "ready"),
        (Event::UserStopRequested, "stopped"),
        (Event::UserDeleteRequested, "removed"),
    ] {
        let (handler, supervisor) = fake(Faults {
            fail: 100,
            ..Faults::default()
        });
        supervisor.call(Event::UserStartRequested).await.unwrap();
        reach(&supervisor, "error").await;
        handler.set_faults(slow(10));
        supervisor.call(event).await.unwrap();
        assert_eq!(supervisor.settled().await.state.name(), end);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exited_container_is_removed() {
    let (handler, supervisor) = fake(slow(10));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    let program = reach(&supervisor, "ready").await;
    let container = program.state.container().unwrap().clone();
    supervisor
        .send(end_of(&program, container, common::exit(0)))
        .unwrap();
    assert_eq!(reach(&supervisor, "stopped").await.state.name(), "stopped");
    world(&handler, |world| assert!(world.instances(&id()).is_empty()));
}

#[test]
fn an_unreachable_runtime_leaves_a_healthy_program_ready() {
    let mut walk = Walk::new(program()).ready().event(host_started());
    for _ in 0..100 {
        let op = walk.op();
        let message = String::from("connection refused");
        let result = Err(Cause::RuntimeUnavailable { message });
        walk = walk.event(Event::InstanceObserved { op, result }).wake();
        assert_eq!(walk.state(), "ready");
    }
    let op = walk.op();
    let result = Ok(InstanceStatus::Running(common::container('c')));
    assert_eq!(
        walk.event(Event::InstanceObserved { op, result }).state(),
        "ready"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_blocks_neither_the_loop_nor_the_sender() {
    let handler = Arc::new(FakeHandler::scripted(slow(50), 5));
    let capacity = Capacity {
        control: 1,
        user: 1,
        data: 1,
    };
    let config = Config {
        capacity,
        ..Config::default()
    };
    let clock = TokioClock::starting_at(common::NOW_MS);
    let (stepper, journal) = (Stepper::new(program()), MemoryJournal::default());
    let supervisor = Supervisor::run(stepper, handler, journal, clock, config);
    supervisor.send(Event::UserStartRequested).unwrap();
    let full = supervisor.send(Event::UserStopRequested);
    assert!(matches!(
        full,
        Err(SendError::QueueFull(Event::UserStopRequested))
    ));
    let full = supervisor.call(Event::UserStopRequested).await;
    assert_eq!(full, Err(CommandError::QueueFull));
    // The outcomes of its own effects never stand in that queue.
    reach(&supervisor, "ready").await;
}

#[test]
fn sending_while_it_ends_is_an_error_and_never_a_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        for round in 0..200 {
            let handler = Arc::new(FakeHandler::instant());
            let (stepper, journal) = (Stepper::new(program()), MemoryJournal::default());
            let config = Config::default();
            let supervisor = Supervisor::run(stepper, handler, journal, SystemClock, config);
            let sender = tokio::spawn({
                let supervisor = supervisor.clone();
                async move {
                    loop {
                        match supervisor.call(Event::UserStartRequested).await {
                            Err(CommandError::Stopped) => return,
                            Ok(()) | Err(CommandError::Refused(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
            if round % 2 == 0 {
                supervisor.stop();
            } else {
                let deleted = supervisor.call(Event::UserDeleteRequested).await;
                assert_eq!(deleted, Ok(()));
            }
            supervisor.stopped().await;
            sender.await.unwrap();
        }
    });
}

#[test]
fn a_stale_exit_does_not_hit_a_newer_container() {
    let walk = Walk::new(program()).ready().restart().stop_finished();
    let walk = walk.exited('c', 137);
    assert_eq!(walk.state(), "starting");
    let op = Walk::new(program()).ready().restart().stop_finished().op();
    let started = hersh_program::StartResult {
        container: common::container('d'),
    };
    let walk = walk.event(Event::InstanceStarted { op, started });
    assert_eq!(walk.state(), "ready");
    assert_eq!(walk.exited('c', 137).state(), "ready");
}

#[tokio::test(start_paused = true)]
async fn a_container_already_gone_does_not_make_stop_fail() {
    let (handler, supervisor) = fake(slow(10));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    reach(&supervisor, "ready").await;
    world(&handler, |world| world.lose_instances(&id()));
    supervisor.call(Event::UserStopRequested).await.unwrap();
    assert_eq!(supervisor.settled().await.state.name(), "stopped");
}

#[tokio::test(start_paused = true)]
async fn delete_frees_everything() {
    let (handler, supervisor) = fake(slow(10));
    supervisor.call(Event::UserStartRequested).await.unwrap();
    reach(&supervisor, "ready").await;
    supervisor.call(Event::UserDeleteRequested).await.unwrap();
    supervisor.stopped().await;
    assert_eq!(supervisor.state().state, State::Removed);
    world(&handler, |world| {
        assert!(world.instances(&id()).is_empty());
        assert!(!world.has_folders(&id()));
    });
    let late = supervisor.call(Event::UserStartRequested).await;
    assert_eq!(late, Err(CommandError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_and_ends() {
    let handler = Arc::new(FakeHandler::scripted(slow(0), 5));
    let mut source = common::source('a', RestartPolicy::Always);
    Arc::make_mut(&mut source.manifest).give_up_after = Some(6);
    let supervisor = supervise(Program::new(common::id(), source, 7), &handler);
    supervisor.call(Event::UserStartRequested).await.unwrap();
    let before = Instant::now();
    let mut exits = 0;
    loop {
        let program = supervisor.settled().await;
        match &program.state {
            State::Ready(ready) => {
                let event = end_of(&program, ready.container.clone(), common::exit(1));
                supervisor.send(event).unwrap();
                exits += 1;
                let mut states = supervisor.subscribe();
                while states.current().state.name() == "ready" {
                    states.changed().await;
                }
            }
            State::Error(failed) if failed.retry.is_none() => break,
            _ => {
                supervisor.subscribe().changed().await;
            }
        }
    }
    assert_eq!(exits, 7);
    // 1 + 2 + 4 + 8 + 16 + 32 seconds, of which at least half.
    let waited = before.elapsed().as_millis();
    assert!((31_500..=63_100).contains(&waited), "{waited} ms");
}
