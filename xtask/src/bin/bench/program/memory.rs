//! Memory of idle programs: resident bytes of a fresh process, before and after.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use super::{Subject, bare, create_all, ours, runtime, start_all};

const PROGRAMS: usize = 100_000;

/// Bytes for each program of `side`, in a process of its own.
pub(crate) fn measure(side: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["memory", side])
        .output()?;
    if !output.status.success() {
        bail!(
            "measuring memory: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout)?;
    text.trim()
        .parse()
        .context("measuring memory: no number came back")
}

/// What the process of its own does: prints the bytes.
pub(crate) fn child(side: &str) -> Result<()> {
    let bytes = match side {
        "ours" => bytes_each::<ours::Program>()?,
        "bare" => bytes_each::<bare::Program>()?,
        _ => bail!("no side '{side}': there are ours and bare"),
    };
    println!("{bytes}");
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

fn resident_bytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("/proc/self/status has no VmRSS")?;
    Ok(kib.trim().parse::<f64>()? * 1024.0)
}
