//! Memory of idle programs: resident bytes of a fresh process, before and after.

use anyhow::{Result, bail};

use super::{Subject, bare, create_all, ours, runtime, start_all};
use crate::child::{report, resident_bytes};

const PROGRAMS: usize = 100_000;

/// What the process of its own does: prints the bytes for each program of `side`.
pub(crate) fn child(side: &str) -> Result<()> {
    let bytes = match side {
        "ours" => bytes_each::<ours::Program>()?,
        "bare" => bytes_each::<bare::Program>()?,
        _ => bail!("no side '{side}': there are ours and bare"),
    };
    report(&[bytes]);
    Ok(())
}

fn bytes_each<S: Subject>() -> Result<f64> {
    runtime()?.block_on(async {
        // What the first program brings along (statics, arenas) is not each one's.
        let first = S::create(PROGRAMS);
        first.ask_start();
        first.reach(true).await;
        let before = resident_bytes()?;
        let programs = create_all::<S>(PROGRAMS);
        start_all(&programs).await;
        let after = resident_bytes()?;
        drop(programs);
        Ok((after - before) / PROGRAMS as f64)
    })
}
