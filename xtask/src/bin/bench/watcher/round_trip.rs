//! One message there and its answer back, again and again: the client spins, so what is measured
//! is the way to the function and not the way to the client.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, ensure};
use hersh::Context;

use super::{BARE, GO, SUITE, bare, builder, flood::join, messages, runtime, seen_all};
use crate::{
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

const TRIPS: u64 = 100_000;

const GOAL_RATIO: f64 = 1.0;

const GO_P50_US: f64 = 2.3;
const GO_P99_US: f64 = 28.0;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let sides = turn_by_turn(RUNS, [&through_watcher, &through_bare_loop])?;
    let [[p50, p99], [bare_p50, bare_p99]] = sides;
    let row = |percentile: &str, value, peer, goal| {
        let name = format!("round trip, {percentile}");
        Row::new(SUITE, name, (value, "µs"), peer, goal)
    };
    let goal = Goal::RatioAtMost(GOAL_RATIO);
    Ok(vec![
        row("p50", p50, (BARE, bare_p50), goal),
        row("p50", p50, (GO, GO_P50_US), Goal::None),
        row("p99", p99, (BARE, bare_p99), goal),
        row("p99", p99, (GO, GO_P99_US), Goal::None),
    ])
}

fn through_watcher() -> Result<[f64; 2]> {
    let runtime = runtime()?;
    let answered = Arc::new(AtomicU64::new(0));
    let answer = answered.clone();
    let watcher = runtime.block_on(async {
        let watcher = builder()
            .start(async move |cx: &mut Context| -> hersh::Result {
                // The first run has no message; each other has one.
                let number = cx.run_number() - 1;
                answer.store(number, Ordering::Release);
                if number == TRIPS { seen_all() } else { Ok(()) }
            })
            .await?;
        messages::ready(&watcher).await?;
        anyhow::Ok(watcher)
    })?;
    let percentiles = travel(&answered, || Ok(watcher.send("message")?))?;
    runtime.block_on(messages::seen(&watcher))?;
    Ok(percentiles)
}

fn through_bare_loop() -> Result<[f64; 2]> {
    let answered = Arc::new(AtomicU64::new(0));
    let (queue, receiver) = bare::spawn(TRIPS, answered.clone());
    let percentiles = travel(&answered, || {
        ensure!(bare::send(&queue, "message".into())?, "the queue is full");
        Ok(())
    })?;
    join(receiver)?;
    Ok(percentiles)
}

/// Sends and waits for the answer, and returns the median and the 99th percentile in µs.
fn travel(answered: &AtomicU64, send: impl Fn() -> Result<()>) -> Result<[f64; 2]> {
    let mut taken_ns = Vec::with_capacity(usize::try_from(TRIPS)?);
    for number in 1..=TRIPS {
        let start = Instant::now();
        send()?;
        while answered.load(Ordering::Acquire) < number {
            hint::spin_loop();
        }
        taken_ns.push(start.elapsed().as_nanos());
    }
    taken_ns.sort_unstable();
    let percentile = |percent: usize| {
        let at = taken_ns.len() * percent / 100;
        taken_ns.get(at).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
    };
    Ok([percentile(50), percentile(99)])
}
