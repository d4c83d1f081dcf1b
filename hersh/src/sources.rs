//! Where the values of watched variables come from: one task each, on the engine's runtime, gone
//! with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::Tick;
use crate::shared::Shared;
use crate::var::Var;

/// Feeds a variable every `every`.
pub(crate) fn tick(shared: Arc<Shared>, var: Arc<Var>, every: Duration) {
    // Before the spawn: a run that blocks the thread delays the task, not the count.
    let start = Instant::now();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            sleep_until(start + times(every, count + 1)).await;
            // A busy engine may wake this task late: every interval that passed is counted.
            count = passed(start.elapsed(), every).max(count + 1);
            let at = shared.clock.wall();
            var.offer(Tick { count, at }, at, &shared.inbox);
        }
    });
}

/// `every` times `count`, for intervals within the limits of the timed hooks.
fn times(every: Duration, count: u64) -> Duration {
    let nanos = every.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many whole intervals fit in `elapsed`.
fn passed(elapsed: Duration, every: Duration) -> u64 {
    let count = elapsed.as_nanos() / every.as_nanos().max(1);
    u64::try_from(count).unwrap_or(u64::MAX)
}
