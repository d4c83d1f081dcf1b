//! Programs as a host runs them: every event is on the disk before anything comes of it. Effects end at
//! once, so what is measured is the way of events through supervisor and journal.
//!
//! ```text
//! ours   Supervisor ── record ──► ProgramRecords ── writer thread, shared commits ──► SQLite
//! peer   loop by hand ── row ───────────────────── writer thread, shared commits ──► SQLite
//!        start: the command, folders, image, container    (4 events, 3 effects)
//! ```
//! The peer has the same SQLite with the same settings, one row for each event as well, and commits that are
//! shared by all rows that wait. It keeps no effect for a recovery and no snapshot, drops no old row, checks no
//! right, mints no operation ids, has no deadlines and can't cancel: it is the floor. It has no reserve on the
//! disk either, so both sides are warmed up where single commits are measured: a log that grows costs each
//! commit more. Figures of the earlier implementation in Go are from another machine, and it had no journal.

mod by_hand;
mod by_hand_rows;
pub(crate) mod memory;
mod ours;

use std::{
    future::Future,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use tokio::runtime::{Builder, Runtime};

use crate::{
    child::measure,
    row::{Goal, Row},
    turns::{FEW_RUNS, RUNS, turn_by_turn},
};

const SUITE: &str = "program";
const PROGRAMS: usize = 10_000;
/// Programs that are created at the same time.
const TOGETHER: usize = 512;
/// Idle programs rest, and what the turn before left to the disk is over.
const REST: Duration = Duration::from_millis(300);
const CYCLES: usize = 250;
/// Cycles after which both logs have the length at which they are folded.
const WARM_UP_CYCLES: usize = 200;
/// Start: the command, folders, image, container. Stop: the command, containers.
const EVENTS_PER_CYCLE: usize = 6;

const BY_HAND: &str = "loop by hand, same SQLite";
const GO: &str = "Go, no journal (reference)";
const GO_READY_MS: f64 = 12.6;
const GO_EVENTS_PER_S: f64 = 3_200_000.0;
const GO_BYTES: f64 = 12_500.0;

const GOAL_READY_RATIO: f64 = 5.0;
const GOAL_EVENTS_RATIO: f64 = 0.5;
const GOAL_BYTES: f64 = 2_048.0;

/// A program of either side, as the measurements use it.
pub(crate) trait Subject: Send + Sync + Sized + 'static {
    /// The journal that all programs of a run share.
    type Journal: Send + Sync + 'static;

    /// Opens a new journal in `folder`.
    fn open(folder: &Path) -> Result<Self::Journal>;

    /// Stores a new program and runs it as a task of the current runtime.
    fn create(journal: &Self::Journal, number: usize) -> impl Future<Output = Result<Self>> + Send;

    /// Asks it to start, and waits until it is Ready.
    fn start(&self) -> impl Future<Output = Result<()>> + Send;

    /// Asks it to stop, and waits until it is Stopped.
    fn stop(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Measures all.
pub(crate) fn suite() -> Result<Vec<Row>> {
    let ready = turn_by_turn(
        RUNS,
        [&ready_ms::<ours::Program>, &ready_ms::<by_hand::Program>],
    )?;
    let events = turn_by_turn(
        RUNS,
        [
            &events_per_s::<ours::Program>,
            &events_per_s::<by_hand::Program>,
        ],
    )?;
    let bytes = turn_by_turn(
        FEW_RUNS,
        [&|| measure(SUITE, "ours"), &|| measure(SUITE, "by-hand")],
    )?;
    Ok([
        compare(
            "10,000 programs from Created to Ready",
            (ready, "ms"),
            GO_READY_MS,
            Goal::RatioAtMost(GOAL_READY_RATIO),
        ),
        compare(
            "events through one program",
            (events, "1/s"),
            GO_EVENTS_PER_S,
            Goal::RatioAtLeast(GOAL_EVENTS_RATIO),
        ),
        compare(
            "memory of one idle program, of 20,000",
            (bytes, "bytes"),
            GO_BYTES,
            Goal::ValueAtMost(GOAL_BYTES),
        ),
    ]
    .concat())
}

/// One row against the peer, with the goal, and one against the reference, without.
fn compare(
    name: &str,
    ([[ours], [by_hand]], unit): ([[f64; 1]; 2], &'static str),
    go: f64,
    goal: Goal,
) -> Vec<Row> {
    let row = |peer, goal| Row::new(SUITE, name, (ours, unit), peer, goal);
    vec![row((BY_HAND, by_hand), goal), row((GO, go), Goal::None)]
}

fn ready_ms<S: Subject>() -> Result<[f64; 1]> {
    let folder = tempfile::tempdir()?;
    let journal = S::open(folder.path())?;
    runtime()?.block_on(async {
        // On a worker, as a host would be.
        let took = tokio::spawn(async move {
            let programs = create_all::<S>(&journal, 0..PROGRAMS).await?;
            tokio::time::sleep(REST).await;
            let start = Instant::now();
            start_all(&programs).await?;
            anyhow::Ok(start.elapsed())
        });
        Ok([took.await??.as_secs_f64() * 1e3])
    })
}

/// One client, one program, one thread beside the writer's: each command waits for the state it asks for.
fn events_per_s<S: Subject>() -> Result<[f64; 1]> {
    let folder = tempfile::tempdir()?;
    let journal = S::open(folder.path())?;
    Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(async {
            let program = S::create(&journal, 0).await?;
            cycle(&program, WARM_UP_CYCLES).await?;
            tokio::time::sleep(REST).await;
            let start = Instant::now();
            cycle(&program, CYCLES).await?;
            let events = (CYCLES * EVENTS_PER_CYCLE) as f64;
            Ok([events / start.elapsed().as_secs_f64()])
        })
}

async fn cycle<S: Subject>(program: &S, times: usize) -> Result<()> {
    for _ in 0..times {
        program.start().await?;
        program.stop().await?;
    }
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?)
}

async fn create_all<S: Subject>(journal: &S::Journal, numbers: Range<usize>) -> Result<Vec<S>> {
    stream::iter(numbers)
        .map(|number| S::create(journal, number))
        .buffered(TOGETHER)
        .try_collect()
        .await
}

async fn start_all<S: Subject>(programs: &[S]) -> Result<()> {
    try_join_all(programs.iter().map(S::start)).await?;
    Ok(())
}
