//! Measurements in a fresh process: what a process needs, nobody else's memory and time in it.
//!
//! ```text
//! bench program ── measure ──► bench child program ours ── one figure a line ──► bench program
//! ```

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

/// The figures that `bench child SUITE WHAT` prints.
///
/// # Errors
/// When that process fails or prints something else.
pub(crate) fn measure<const FIGURES: usize>(suite: &str, what: &str) -> Result<[f64; FIGURES]> {
    let output = Command::new(std::env::current_exe()?)
        .args(["child", suite, what])
        .output()?;
    if !output.status.success() {
        bail!(
            "measuring {what}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("measuring {what}: no figures came back"))?;
    figures
        .try_into()
        .ok()
        .with_context(|| format!("measuring {what}: not {FIGURES} figures came back"))
}

/// What the child does with its figures.
pub(crate) fn report(figures: &[f64]) {
    for figure in figures {
        println!("{figure}");
    }
}

/// Bytes of this process that are in memory, code and libraries included.
///
/// # Errors
/// When the system doesn't say.
pub(crate) fn resident_bytes() -> Result<f64> {
    status_bytes("self", "VmRSS:")
}

/// Bytes of this process that are in memory and that no file stands behind: heap and stacks.
///
/// # Errors
/// When the system doesn't say.
pub(crate) fn private_bytes() -> Result<f64> {
    status_bytes("self", "RssAnon:")
}

/// Processor time that this process has used.
///
/// # Errors
/// When the system's answer makes no sense.
pub(crate) fn cpu_time() -> Result<Duration> {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::try_from(used)?)
}

/// What the system says of process `id` under `key`.
///
/// # Errors
/// When it doesn't say.
pub(crate) fn status_bytes(id: &str, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .with_context(|| format!("/proc/{id}/status has no {key}"))?;
    Ok(kib.trim().parse::<f64>()? * 1024.0)
}
