//! Benchmarks: `cargo xtask bench SUITE [PART] [--json]`.
//!
//! Each figure is the median of at least five runs. Peers are measured in the same run, turn by
//! turn with ours, so that a noisy moment hits all, and goals are bounds on a figure or on the ratio to
//! such a peer. Figures of the earlier implementation, from another machine, are printed beside them as a
//! reference and say so; no goal rests on them.

mod child;
mod host;
mod http;
mod program;
mod real_host;
mod rollout;
mod row;
mod start;
mod turns;
mod watcher;
mod wrk;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask bench SUITE [PART] [--json]
suites:
  host      the host; parts: api, and proxy against nginx and HAProxy (scripts/bench installs
            them)
  program   supervisors with the durable journal, against a loop by hand
  start     deploy of a built image to Ready, against docker run (scripts/bench start runs it)
  watcher   the reactive framework; parts: messages, round-trip, idle, growth,
            flow, journal, api";

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
        ["host"] => host::suite(None)?,
        ["host", part] => host::suite(Some(part))?,
        ["program"] => program::suite()?,
        ["start"] => start::suite()?,
        ["watcher"] => watcher::suite(None)?,
        ["watcher", part] => watcher::suite(Some(part))?,
        ["child", "host", what] => return host::child(what),
        ["child", "watcher", what] => return watcher::child(what),
        ["child", "program", side] => return program::memory::child(side),
        _ => bail!(USAGE),
    };
    row::print(&rows, json)?;
    let verdicts: Vec<bool> = rows.iter().filter_map(|row| row.holds).collect();
    let missed = verdicts.iter().filter(|holds| !**holds).count();
    if missed > 0 {
        bail!("{missed} of {} goals do not hold", verdicts.len());
    }
    Ok(())
}
