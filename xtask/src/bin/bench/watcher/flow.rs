//! Watched streams: how fast their values are taken in, and how fast runs follow them.
//!
//! ```text
//! flood       streams that never wait; the function reads all variables in every run
//! lock-step   one value ──► one run, which reads all variables and asks for the next value
//! ```

use std::{convert::Infallible, sync::mpsc, time::Instant};

use anyhow::{Context as _, Result};
use futures_util::{Stream, StreamExt, stream};
use hersh::{Context, Control};
use tokio::sync::Notify;

use super::{GO, SUITE, builder, messages, runtime, seen_all};
use crate::{
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

/// Of all variables together.
const VALUES: u64 = 10_000_000;
const STEPS: u64 = 100_000;

const GO_VALUES_PER_S: [(&str, f64); 3] = [
    ("1 flow", 2_000_000.0),
    ("100 flows", 2_500_000.0),
    ("1,000 flows", 2_400_000.0),
];
const GO_STEPS_PER_S_OF_100: f64 = 17_300.0;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let floods = turn_by_turn(RUNS, [&|| flood(1), &|| flood(100), &|| flood(1_000)])?;
    let [[one], [hundred]] = turn_by_turn(RUNS, [&|| lock_step(1), &|| lock_step(100)])?;
    let row = |name: String, value, peer, goal| Row::new(SUITE, name, (value, "1/s"), peer, goal);
    let mut rows = Vec::new();
    for ((flows, go), [value]) in GO_VALUES_PER_S.into_iter().zip(floods) {
        let name = format!("flood of values, {flows}");
        rows.push(row(name, value, (GO, go), Goal::RatioAtLeast(5.0)));
    }
    let name = |flows: &str| format!("one value one run, {flows}");
    let peer = (GO, GO_STEPS_PER_S_OF_100);
    rows.push(row(name("1 flow"), one, ("100 flows", hundred), Goal::None));
    rows.push(row(
        name("100 flows"),
        hundred,
        peer,
        Goal::RatioAtLeast(10.0),
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

/// 1 to `count`, and then nothing.
fn numbers(count: u64) -> impl Stream<Item = Result<u64, Infallible>> {
    stream::iter(1..=count).chain(stream::pending()).map(Ok)
}

fn lock_step(variables: usize) -> Result<[f64; 1]> {
    let names = names(variables);
    // Leaked, so that the closures of the hooks own nothing: some kilobytes, a few times.
    let asked: &'static [Notify] = (0..variables)
        .map(|_| Notify::new())
        .collect::<Vec<_>>()
        .leak();
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
