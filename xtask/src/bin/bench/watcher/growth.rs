//! How memory grows: with each watched variable, and (it must not) with each signal.

use anyhow::Result;
use hersh::Context;

use super::{SUITE, builder, messages, runtime};
use crate::{
    child::{measure, report, resident_bytes},
    row::{Goal, Row},
    turns::{FEW_RUNS, turn_by_turn},
};

/// One is registered before: what the first variable brings along is not each one's.
const VARIABLES: usize = 999;
const FEW_SIGNALS: u64 = 1_000_000;
const MANY_SIGNALS: u64 = 10_000_000;

const GOAL_BYTES: f64 = 2_048.0;
const GOAL_GROWTH: f64 = 1.05;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let [[each, without]] = turn_by_turn(FEW_RUNS, [&|| measure(SUITE, "per-variable")])?;
    let [[few, many]] = turn_by_turn(FEW_RUNS, [&|| measure(SUITE, "per-signal")])?;
    Ok(vec![
        Row::new(
            SUITE,
            "memory of one variable, of 1,000",
            (each, "bytes"),
            ("the whole process without", without),
            Goal::ValueAtMost(GOAL_BYTES),
        ),
        Row::new(
            SUITE,
            "memory after 10 million signals",
            (many, "bytes"),
            ("after 1 million", few),
            Goal::RatioAtMost(GOAL_GROWTH),
        ),
    ])
}

/// Prints the bytes of each variable, and of the process before there were any.
pub(crate) fn child_per_variable() -> Result<()> {
    runtime()?.block_on(async {
        let watcher = builder()
            .start(async |cx: &mut Context| match cx.run_number() {
                1 => messages::watch(cx, 0, 1),
                _ => messages::watch(cx, 1, VARIABLES),
            })
            .await?;
        messages::runs(&watcher, 1)?;
        let before = resident_bytes()?;
        // Tasks of new variables have their turn once the run that made them is over.
        for run in 2..=3 {
            watcher.send("more")?;
            messages::runs(&watcher, run)?;
        }
        report(&[(resident_bytes()? - before) / VARIABLES as f64, before]);
        Ok(())
    })
}

/// Prints the bytes of the process after a few signals, and after many.
pub(crate) fn child_per_signal() -> Result<()> {
    runtime()?.block_on(async {
        let watcher = builder()
            .start(async |_: &mut Context| -> hersh::Result { Ok(()) })
            .await?;
        messages::flood_watcher(&watcher, FEW_SIGNALS)?;
        messages::runs(&watcher, FEW_SIGNALS + 1)?;
        let few = resident_bytes()?;
        messages::flood_watcher(&watcher, MANY_SIGNALS - FEW_SIGNALS)?;
        messages::runs(&watcher, MANY_SIGNALS + 1)?;
        report(&[few, resident_bytes()?]);
        Ok(())
    })
}
