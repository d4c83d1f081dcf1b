//! Chores of this repository.
//!
//! ```text
//! cargo xtask tidy                           style rules that no other tool checks
//! cargo xtask bench SUITE [PART] [--json]    measure: a table, or one JSON object a line
//! ```

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask tidy | cargo xtask bench SUITE [PART] [--json]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    match words.first().map(String::as_str) {
        Some("tidy") => tidy(),
        Some("bench") => bench(&words[1..]),
        _ => bail!(USAGE),
    }
}

fn tidy() -> Result<()> {
    let report = xtask::tidy::check(Path::new("."))?;
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for finding in &report.findings {
        println!("{finding}");
    }
    if report.findings.is_empty() {
        println!("tidy: {} files in order", report.files);
        Ok(())
    } else {
        bail!("{} findings, listed above", report.findings.len())
    }
}

/// The benchmarks are a program of their own: optimised, and with dependencies that tidy does
/// not need. Some run beside a private engine.
fn bench(words: &[String]) -> Result<()> {
    let status = Command::new("scripts/bench")
        .args(words)
        .status()
        .context("scripts/bench did not start: call this from the top folder")?;
    if status.success() {
        Ok(())
    } else {
        bail!("bench ended with {status}")
    }
}
