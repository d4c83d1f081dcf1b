//! The lifecycle machine in memory: no journal, effects that end at once.
//!
//! ```text
//! ours   Supervisor ── start ──► Building ──► Starting ──► Ready     (4 events, 3 effects)
//! bare   the same by hand: one tokio task, one bounded queue, one watch channel
//! ```
//! The bare peer keeps no journal record, mints no operation ids, has no deadlines and can't
//! cancel: it is the floor. Figures of the earlier implementation in Go are from another machine.

mod bare;
pub(crate) mod memory;
mod ours;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::{
    child::measure,
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

const SUITE: &str = "program";
const PROGRAMS: usize = 10_000;
const REST: Duration = Duration::from_millis(50);
const CYCLES: usize = 50_000;
/// Start: the command, folders, image, container. Stop: the command, containers.
const EVENTS_PER_CYCLE: usize = 6;

const GO: &str = "Go (reference)";
const BARE: &str = "bare tokio loop";
const GO_READY_MS: f64 = 12.6;
const GO_EVENTS_PER_S: f64 = 3_200_000.0;
const GO_BYTES: f64 = 12_500.0;
const GOAL_BYTES: f64 = 2_048.0;

/// A program of either side, as the measurements use it.
pub(crate) trait Subject: Send + Sync + Sized + 'static {
    /// A new one, as a task of the current runtime.
    fn create(number: usize) -> Self;

    /// Asks it to start and does not wait.
    fn ask_start(&self);

    /// Asks it to stop and does not wait.
    fn ask_stop(&self);

    /// Waits until it is Ready (`true`) or Stopped (`false`).
    fn reach(&self, ready: bool) -> impl Future<Output = ()> + Send;
}

/// Measures all.
pub(crate) fn suite() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let [[ours], [bare]] = turn_by_turn(
        RUNS,
        [&ready_ms::<ours::Program>, &ready_ms::<bare::Program>],
    )?;
    let name = "10,000 programs from Created to Ready";
    let goal = Goal::RatioAtMost(1.0);
    rows.push(Row::new(SUITE, name, (ours, "ms"), (GO, GO_READY_MS), goal));
    rows.push(Row::new(
        SUITE,
        name,
        (ours, "ms"),
        (BARE, bare),
        Goal::None,
    ));

    let [[ours], [bare]] = turn_by_turn(
        RUNS,
        [
            &events_per_s::<ours::Program>,
            &events_per_s::<bare::Program>,
        ],
    )?;
    let name = "events through one program";
    let goal = Goal::RatioAtLeast(1.0);
    rows.push(Row::new(
        SUITE,
        name,
        (ours, "1/s"),
        (GO, GO_EVENTS_PER_S),
        goal,
    ));
    rows.push(Row::new(
        SUITE,
        name,
        (ours, "1/s"),
        (BARE, bare),
        Goal::None,
    ));

    let [[ours], [bare]] = turn_by_turn(
        RUNS,
        [&|| measure(SUITE, "ours"), &|| measure(SUITE, "bare")],
    )?;
    let name = "memory of one idle program, of 100,000";
    let goal = Goal::ValueAtMost(GOAL_BYTES);
    rows.push(Row::new(SUITE, name, (ours, "bytes"), (GO, GO_BYTES), goal));
    rows.push(Row::new(
        SUITE,
        name,
        (ours, "bytes"),
        (BARE, bare),
        Goal::None,
    ));
    Ok(rows)
}

fn ready_ms<S: Subject>() -> Result<[f64; 1]> {
    runtime()?.block_on(async {
        // On a worker, as a host would be.
        let took = tokio::spawn(async {
            let programs = create_all::<S>(PROGRAMS);
            // Idle programs rest: let each task run to its first wait.
            tokio::time::sleep(REST).await;
            let start = Instant::now();
            start_all(&programs).await;
            start.elapsed()
        });
        Ok([took.await?.as_secs_f64() * 1e3])
    })
}

/// One client, one program, one thread: each command waits for the state it asks for.
fn events_per_s<S: Subject>() -> Result<[f64; 1]> {
    Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(async {
            let program = S::create(0);
            let start = Instant::now();
            for _ in 0..CYCLES {
                program.ask_start();
                program.reach(true).await;
                program.ask_stop();
                program.reach(false).await;
            }
            let events = (CYCLES * EVENTS_PER_CYCLE) as f64;
            Ok([events / start.elapsed().as_secs_f64()])
        })
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?)
}

fn create_all<S: Subject>(count: usize) -> Vec<S> {
    (0..count).map(S::create).collect()
}

async fn start_all<S: Subject>(programs: &[S]) {
    for program in programs {
        program.ask_start();
    }
    for program in programs {
        program.reach(true).await;
    }
}
