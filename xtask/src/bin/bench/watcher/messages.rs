//! A flood: one thread sends as fast as there is room, the managed function does nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hersh::{Builder, Context, EndKind, SendError, Watcher, WatcherState};

use super::{
    BARE, GO, SUITE, actor, bare, builder,
    flood::{flood, join},
    runtime, seen_all,
};
use crate::{
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

const MESSAGES: u64 = 1_000_000;
/// Longer than any interval of these measurements.
const NEVER: Duration = Duration::from_secs(60 * 60);
const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);

const GOAL_BARE: f64 = 0.333;
/// Of a message beside many variables, by what it is without.
const GOAL_COST: f64 = 1.2;

const GO_MESSAGES_PER_S: f64 = 348_000.0;
const GO_MESSAGES_PER_S_OF_100: f64 = 18_300.0;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let sides = turn_by_turn(
        RUNS,
        [
            &|| through(builder(), 0),
            &|| through(builder(), 10),
            &|| through(builder(), 100),
            &|| through(builder(), 1_000),
            &|| per_second(MESSAGES, bare::flood(MESSAGES)?),
            &|| per_second(MESSAGES, actor::flood(MESSAGES)?),
        ],
    )?;
    let [[none], [ten], [hundred], [thousand], [bare], [kameo]] = sides;
    let ours = |variables: &str, value, peer, goal| {
        let name = format!("messages, {variables} variables");
        Row::new(SUITE, name, (value, "1/s"), peer, goal)
    };
    let go_of_100 = (GO, GO_MESSAGES_PER_S_OF_100);
    let cost = |per_second: f64| 1e9 / per_second;
    Ok(vec![
        ours("0", none, (BARE, bare), Goal::RatioAtLeast(GOAL_BARE)),
        ours("0", none, (GO, GO_MESSAGES_PER_S), Goal::None),
        ours("0", none, ("kameo actor", kameo), Goal::None),
        ours("10", ten, ("0 variables", none), Goal::None),
        ours(
            "100",
            hundred,
            ("0 variables", none),
            Goal::RatioAtLeast(1.0 / GOAL_COST),
        ),
        ours("100", hundred, go_of_100, Goal::None),
        Row::new(
            SUITE,
            "a message's cost, 1,000 variables",
            (cost(thousand), "ns"),
            ("0 variables", cost(none)),
            Goal::RatioAtMost(GOAL_COST),
        ),
    ])
}

/// Sends `count` messages to a watcher.
pub(crate) fn flood_watcher(watcher: &Watcher, count: u64) -> Result<()> {
    flood(count, |message| match watcher.send(message) {
        Ok(()) => Ok(true),
        Err(SendError::QueueFull { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    })
}

/// Waits until the watcher has stopped because its function saw all.
pub(crate) async fn seen(watcher: &Watcher) -> Result<()> {
    let ending = tokio::time::timeout(DEADLINE, watcher.wait())
        .await
        .context("the watcher did not see all messages")?;
    ensure!(ending.kind == EndKind::Stopped, "the watcher {ending}");
    Ok(())
}

/// Waits for the watcher's first run.
pub(crate) async fn ready(watcher: &Watcher) -> Result<()> {
    watcher.ready().await.map_err(|ending| anyhow!("{ending}"))
}

/// Waits until this many runs are over and nothing else is to do.
pub(crate) fn runs(watcher: &Watcher, count: u64) -> Result<()> {
    let start = Instant::now();
    // One after the other: a look may fall between the beginning of a run and what shows it.
    while watcher.status().runs < count || watcher.status().state != WatcherState::Ready {
        ensure!(
            start.elapsed() < DEADLINE,
            "the watcher did not run {count} times"
        );
        thread::sleep(POLL);
    }
    Ok(())
}

/// Registers variables numbered from `first` that never change.
pub(crate) fn watch(cx: &mut Context, first: usize, count: usize) -> hersh::Result {
    for number in first..first + count {
        cx.watch_tick(&format!("variable-{number}"), NEVER)?;
    }
    Ok(())
}

/// Messages per second through a watcher with this many variables.
pub(crate) fn through(builder: Builder, variables: usize) -> Result<[f64; 1]> {
    runtime()?.block_on(async {
        let watcher = builder
            .start(async move |cx: &mut Context| -> hersh::Result {
                // The first run has no message; each other has one.
                match cx.run_number() {
                    1 => watch(cx, 0, variables),
                    run if run > MESSAGES => seen_all(),
                    _ => Ok(()),
                }
            })
            .await?;
        ready(&watcher).await?;
        let sender = watcher.clone();
        let start = Instant::now();
        let thread = thread::spawn(move || flood_watcher(&sender, MESSAGES));
        seen(&watcher).await?;
        let took = start.elapsed();
        join(thread)?;
        per_second(MESSAGES, took)
    })
}

/// A rate.
pub(crate) fn per_second(count: u64, took: Duration) -> Result<[f64; 1]> {
    Ok([count as f64 / took.as_secs_f64()])
}
