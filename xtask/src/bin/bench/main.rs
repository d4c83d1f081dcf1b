//! Benchmarks: `cargo xtask bench SUITE [--json]`.
//!
//! Each figure is the median of at least five runs. Peers are measured in the same run, turn by
//! turn with ours, so that a noisy moment hits both; figures of the earlier implementation are
//! printed beside them as a reference and say so.

mod http;
mod program;
mod row;
mod start;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Runs of each measurement.
pub(crate) const RUNS: usize = 7;

const USAGE: &str = "usage: cargo xtask bench SUITE [--json]
suites:
  program   the lifecycle machine in memory
  start     deploy of a built image to Ready, against docker run (scripts/bench start runs it)";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let json = words.iter().any(|word| word == "--json");
    words.retain(|word| word != "--json");
    match run(&words, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String], json: bool) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let rows = match words[..] {
        ["program"] => program::suite()?,
        ["start"] => start::suite()?,
        // Memory is measured in a fresh process each time.
        ["memory", side] => return program::memory::child(side),
        _ => bail!(USAGE),
    };
    row::print(&rows, json)?;
    let missed = rows.iter().filter(|row| row.holds == Some(false)).count();
    if missed > 0 {
        bail!("{missed} of {} goals do not hold", rows.len());
    }
    Ok(())
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
