//! A watcher that waits, in a process of its own, against a tokio program that does.

use std::time::Duration;

use anyhow::{Result, bail};
use hersh::{Builder, Context};

use super::{SUITE, builder, messages, runtime};
use crate::{
    child::{cpu_time, measure, private_bytes, report, resident_bytes},
    row::{Goal, Row},
    turns::{FEW_RUNS, turn_by_turn},
};

/// What the start leaves behind (lazy pages, deferred work) is not what waiting costs.
const SETTLE: Duration = Duration::from_millis(300);
const WAIT: Duration = Duration::from_secs(1);

const GOAL_CPU_MS: f64 = 1.0;
const GOAL_BYTES: f64 = 1_048_576.0;

const EMPTY: &str = "empty tokio program";

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let sides = turn_by_turn(
        FEW_RUNS,
        [
            &|| measure(SUITE, "idle"),
            &|| measure(SUITE, "idle-api"),
            &|| measure(SUITE, "empty"),
        ],
    )?;
    let [
        [cpu_ms, bytes, heap],
        [api_cpu_ms, api_bytes, api_heap],
        [empty_ms, empty_bytes, empty_heap],
    ] = sides;
    let cpu = |name: &str, value| {
        let goal = Goal::ValueAtMost(GOAL_CPU_MS);
        Row::new(SUITE, name, (value, "ms"), (EMPTY, empty_ms), goal)
    };
    let resident = |name: &str, value: f64| {
        let extra = (value - empty_bytes, "bytes");
        let goal = Goal::ValueAtMost(GOAL_BYTES);
        Row::new(SUITE, name, extra, (EMPTY, empty_bytes), goal)
    };
    let not_code = |name: &str, value: f64| {
        let extra = (value - empty_heap, "bytes");
        Row::new(SUITE, name, extra, (EMPTY, empty_heap), Goal::None)
    };
    Ok(vec![
        cpu("processor time in 1 s, idle", cpu_ms),
        cpu("processor time in 1 s, idle, with API", api_cpu_ms),
        resident("idle watcher's memory beyond the peer's", bytes),
        not_code("of that, not code: heap and stacks", heap),
        resident("the same, with API", api_bytes),
        not_code("of that, not code: heap and stacks", api_heap),
    ])
}

/// Prints the milliseconds of processor time in a second of waiting, the resident bytes, and those
/// of them that are not code.
pub(crate) fn child(what: &str) -> Result<()> {
    match what {
        "empty" => runtime()?.block_on(wait()),
        "idle" => watcher(builder()),
        "idle-api" => watcher(builder().api(([127, 0, 0, 1], 0))),
        _ => bail!("nothing to measure is called '{what}'"),
    }
}

fn watcher(builder: Builder) -> Result<()> {
    runtime()?.block_on(async {
        let watcher = builder
            .start(async |_: &mut Context| -> hersh::Result { Ok(()) })
            .await?;
        watcher.send("message")?;
        messages::runs(&watcher, 2)?;
        wait().await
    })
}

async fn wait() -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let before = cpu_time()?;
    tokio::time::sleep(WAIT).await;
    let used = cpu_time()?.saturating_sub(before);
    report(&[
        used.as_secs_f64() * 1e3,
        resident_bytes()?,
        private_bytes()?,
    ]);
    Ok(())
}
