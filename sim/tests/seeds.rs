//! Thousands of seeds, and that each is the same every time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use hersh_sim::{Report, run};

/// Seeds that are run unless `HERSH_SIM_SEEDS` says how many.
const SEEDS: u64 = 2_000;
/// The first of them. Always the same ones, so that a failure is the change's own.
const FIRST: u64 = 1;

#[test]
fn all_laws_hold_whatever_the_seed() {
    let seeds = std::env::var("HERSH_SIM_SEEDS").map_or(SEEDS, |text| {
        text.parse().expect("HERSH_SIM_SEEDS is a number of seeds")
    });
    let next = AtomicU64::new(FIRST);
    let work = || {
        let mut lines = 0;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= FIRST + seeds {
                return Ok(lines);
            }
            let report = run(seed).unwrap();
            if report.law.is_some() {
                // The others end with the seed that they have in hand.
                next.store(FIRST + seeds, Ordering::Relaxed);
                return Err(report);
            }
            lines += report.lines;
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<Result<u64, Report>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    });
    let mut lines = 0;
    for outcome in outcomes {
        lines += outcome.unwrap_or_else(|report| panic!("{report}"));
    }
    println!("{seeds} seeds, {lines} lines of trace, all laws hold");
    // Worlds in which nothing happens would obey every law.
    assert!(lines > 100 * seeds);
}

#[test]
fn one_seed_gives_one_trace_in_this_process_and_in_another() {
    let mut traces = Vec::new();
    for seed in 1..=10 {
        let here = run(seed).unwrap();
        assert_eq!(here.to_string(), run(seed).unwrap().to_string());
        let there = Command::new(env!("CARGO_BIN_EXE_hersh-sim"))
            .arg(seed.to_string())
            .output()
            .unwrap();
        let there = String::from_utf8(there.stdout).unwrap();
        assert_eq!(there.trim_end(), here.to_string());
        traces.push(here.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 10, "each seed has a trace of its own");
}

#[test]
fn a_report_says_how_to_see_it_again() {
    let report = Report {
        seed: 7,
        law: Some("it is lost".into()),
        trace: 1,
        lines: 2,
        last: vec!["the host dies".into()],
    };
    let shown = report.to_string();
    for part in ["the host dies", "it is lost", "cargo run -p hersh-sim -- 7"] {
        assert!(shown.contains(part), "{shown}");
    }
}
