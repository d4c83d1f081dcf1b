//! Watched streams: how fast their values are taken in, and how fast runs follow them.
//!
//! ```text
//! flood       streams that never wait; the function reads all variables in every run
//! lock-step   one value ──► one run, which reads all variables and asks for the next value
//! ```
//! The peer follows the same streams by one loop on one thread.

use std::{convert::Infallible, sync::mpsc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{Stream, StreamExt, stream};
use hersh::{Context, Control};
use tokio::sync::Notify;

use super::{BARE, GO, SUITE, bare_flow, builder, messages, runtime, seen_all};
use crate::{
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

/// Of all variables together.
const VALUES: u64 = 10_000_000;
const STEPS: u64 = 100_000;

const GOAL_FLOOD: f64 = 0.5;
const GOAL_LOCK_STEP: f64 = 0.02;

const GO_VALUES_PER_S: [(&str, f64); 3] = [
    ("1 flow", 2_000_000.0),
    ("100 flows", 2_500_000.0),
    ("1,000 flows", 2_400_000.0),
];
const GO_STEPS_PER_S_OF_100: f64 = 17_300.0;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let floods = turn_by_turn(
        RUNS,
        [
            &|| flood(1),
            &|| flood(100),
            &|| flood(1_000),
            &|| bare_flood(1),
            &|| bare_flood(100),
            &|| bare_flood(1_000),
        ],
    )?;
    let [[one], [hundred], [bare]] = turn_by_turn(
        RUNS,
        [&|| lock_step(1), &|| lock_step(100), &|| {
            bare_lock_step(100)
        }],
    )?;
    let row = |name: String, value, peer, goal| Row::new(SUITE, name, (value, "1/s"), peer, goal);
    let (ours, bare_floods) = floods.split_at(GO_VALUES_PER_S.len());
    let mut rows = Vec::new();
    for (((flows, go), [value]), [bare]) in GO_VALUES_PER_S.iter().zip(ours).zip(bare_floods) {
        let name = format!("flood of values, {flows}");
        let goal = Goal::RatioAtLeast(GOAL_FLOOD);
        rows.push(row(name.clone(), *value, (BARE, *bare), goal));
        rows.push(row(name, *value, (GO, *go), Goal::None));
    }
    let name = |flows: &str| format!("one value one run, {flows}");
    rows.push(row(name("1 flow"), one, ("100 flows", hundred), Goal::None));
    rows.push(row(
        name("100 flows"),
        hundred,
        (BARE, bare),
        Goal::RatioAtLeast(GOAL_LOCK_STEP),
    ));
    rows.push(row(
        name("100 flows"),
        hundred,
        (GO, GO_STEPS_PER_S_OF_100),
        Goal::None,
    ));
    Ok(rows)
}

fn flood(variables: usize) -> Result<[f64; 1]> {
    let each = VALUES / variables as u64;
    let names = names(variables);
    runtime()?.block_on(async {
        let (done, is_done) = mpsc::channel();
        let mut start = Instant::now();
        let watcher = builder()
            .start(async move |cx: &mut Context| -> hersh::Result {
                if cx.triggered().init {
                    start = Instant::now();
                }
                let mut full = 0;
                for name in &names {
                    let value = cx.watch_flow(name, 0, move || numbers(each))?;
                    full += usize::from(*value == each);
                }
                if full < variables {
                    return Ok(());
                }
                // Nobody waits for it only if the measurement has failed already.
                let _ = done.send(start.elapsed());
                seen_all()
            })
            .await?;
        messages::seen(&watcher).await?;
        let took = is_done.recv().context("the watcher measured nothing")?;
        messages::per_second(each * variables as u64, took)
    })
}

fn bare_flood(variables: usize) -> Result<[f64; 1]> {
    let each = VALUES / variables as u64;
    let streams = (0..variables).map(|_| bare_flow::values(numbers(each)));
    let streams = streams.collect();
    let start = Instant::now();
    let run = |newest: &[u64]| Ok(newest.iter().any(|value| *value < each));
    runtime()?.block_on(bare_flow::follow(streams, run))?;
    messages::per_second(each * variables as u64, start.elapsed())
}

/// 1 to `count`, and then nothing.
fn numbers(count: u64) -> impl Stream<Item = Result<u64, Infallible>> {
    stream::iter(1..=count).chain(stream::pending()).map(Ok)
}

fn lock_step(variables: usize) -> Result<[f64; 1]> {
    let names = names(variables);
    let asked = asked(variables);
    runtime()?.block_on(async {
        let (done, is_done) = mpsc::channel();
        let start = Instant::now();
        let watcher = builder()
            .start(async move |cx: &mut Context| -> hersh::Result {
                let mut sum = 0;
                for (name, asked) in names.iter().zip(asked) {
                    sum += *cx.watch_flow(name, 0, || steps(asked))?;
                }
                // The first run has none; each other has exactly one more.
                if sum != cx.run_number() - 1 {
                    return Err(Control::crash("not one value in one run").into());
                }
                if sum == STEPS {
                    let _ = done.send(start.elapsed());
                    return seen_all();
                }
                let next = usize::try_from(sum).unwrap_or_default() % asked.len();
                asked[next].notify_one();
                Ok(())
            })
            .await?;
        messages::seen(&watcher).await?;
        let took = is_done.recv().context("the watcher measured nothing")?;
        messages::per_second(STEPS, took)
    })
}

fn bare_lock_step(variables: usize) -> Result<[f64; 1]> {
    let asked = asked(variables);
    let streams = asked.iter().map(|asked| bare_flow::values(steps(asked)));
    let streams = streams.collect();
    let start = Instant::now();
    let mut runs = 0;
    let run = |newest: &[u64]| {
        let sum: u64 = newest.iter().sum();
        // The first run has none; each other has exactly one more.
        ensure!(sum == runs, "not one value in one run");
        runs += 1;
        asked[usize::try_from(sum)? % asked.len()].notify_one();
        Ok(sum < STEPS)
    };
    runtime()?.block_on(bare_flow::follow(streams, run))?;
    messages::per_second(STEPS, start.elapsed())
}

/// What asks for the next value of each stream. Leaked, so that the closures of the hooks own nothing: some
/// kilobytes, a few times.
fn asked(variables: usize) -> &'static [Notify] {
    let asked = (0..variables).map(|_| Notify::new());
    asked.collect::<Vec<_>>().leak()
}

/// Counts how often it was asked.
fn steps(asked: &Notify) -> impl Stream<Item = Result<u64, Infallible>> {
    stream::unfold(0, async move |count| {
        asked.notified().await;
        Some((Ok(count + 1), count + 1))
    })
}

fn names(variables: usize) -> Vec<String> {
    (0..variables)
        .map(|number| format!("flow-{number}"))
        .collect()
}
