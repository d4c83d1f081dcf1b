//! Memory of idle programs: resident bytes of a fresh process, before and after.

use anyhow::{Result, bail};

use super::{Subject, TOGETHER, by_hand, create_all, ours, runtime, start_all};
use crate::child::{report, resident_bytes};

const PROGRAMS: usize = 20_000;

/// What the process of its own does: prints the bytes for each program of `side`.
pub(crate) fn child(side: &str) -> Result<()> {
    let bytes = match side {
        "ours" => bytes_each::<ours::Program>()?,
        "by-hand" => bytes_each::<by_hand::Program>()?,
        _ => bail!("no side '{side}': there are ours and by-hand"),
    };
    report(&[bytes]);
    Ok(())
}

fn bytes_each<S: Subject>() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let journal = S::open(folder.path())?;
    runtime()?.block_on(async {
        // What the first programs bring along (statics, arenas, pages of SQLite) is not each one's.
        let first = create_all::<S>(&journal, PROGRAMS..PROGRAMS + TOGETHER).await?;
        start_all(&first).await?;
        let before = resident_bytes()?;
        let programs = create_all::<S>(&journal, 0..PROGRAMS).await?;
        // A few at a time: what many need while they start together is not what they need when idle.
        for few in programs.chunks(TOGETHER) {
            start_all(few).await?;
        }
        let after = resident_bytes()?;
        drop((first, programs));
        Ok((after - before) / PROGRAMS as f64)
    })
}
