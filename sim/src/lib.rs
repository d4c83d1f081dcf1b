//! A whole host from one seed: users, programs, faults of engine, journal, disk and time, crashes;
//! laws that hold always, and an end to which everything comes once faults stop.
//!
//! ```text
//! seed ─► users made ─► 1 to 4 hosts, each among users and faults until it dies ─► one at peace
//!              one engine and one folder outlive them all; the trace is all that happened
//! ```
//! ```
//! let report = hersh_sim::run(7)?;
//! assert_eq!(report.law, None, "{report}");
//! # Ok::<(), std::io::Error>(())
//! ```
//! API, access, quotas, supervision, journal (SQLite), storage and build queue are the real ones, on
//! tokio's current-thread runtime with paused time. The engine answers liveness probes. Not simulated:
//! sockets, TLS, the proxy and readiness probes; archives and reading logs, which use threads; a disk
//! that fails other than by being full; what a power cut does below SQLite. The secrets and ids of
//! tokens are really random and stay out of the trace.

mod accounts;
mod command;
mod deploy;
mod fault_plan;
mod hosts;
mod interrupted;
mod known_programs;
mod laws;
mod outside_faults;
mod revisions;
mod shared;
mod silence;
mod trace;
mod user;

use std::{fmt, io, path::Path, sync::Arc};

use hersh_machine::SplitMix64;
use tokio::runtime::{Builder, Runtime};

use hosts::Hosts;
use shared::Shared;

/// Hosts that die, at most.
const DISTURBED_MAX: u64 = 4;
/// Where folders are that need not outlive the machine's power.
const MEMORY: &str = "/dev/shm";
/// 2026-01-01, milliseconds since the Unix epoch.
const BEGINS_MS: u64 = 1_767_225_600_000;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The law that was broken, if one was.
    pub law: Option<String>,
    /// The hash of the whole trace: equal for equal seeds.
    pub trace: u64,
    /// How many lines the trace has.
    pub lines: u64,
    /// The last of them.
    pub last: Vec<String>,
}

impl fmt::Display for Report {
    /// The seed, what it broke, how to see it again, and how it came to that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed, trace, lines, ..
        } = self;
        match &self.law {
            None => write!(
                f,
                "seed {seed}: all laws hold, trace {trace:016x} of {lines} lines"
            ),
            Some(law) => {
                for line in &self.last {
                    writeln!(f, "{line}")?;
                }
                writeln!(f, "seed {seed} breaks a law: {law}")?;
                writeln!(f, "trace {trace:016x} of {lines} lines, its end is above")?;
                write!(f, "again: cargo run -p hersh-sim -- {seed}")
            }
        }
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// Only when there is no folder or no runtime to run it with; a law that breaks is in the report.
pub fn run(seed: u64) -> io::Result<Report> {
    let data = match Path::new(MEMORY).is_dir() {
        true => tempfile::tempdir_in(MEMORY)?,
        false => tempfile::tempdir()?,
    };
    let mut random = SplitMix64::new(seed);
    let shared = Shared::new(SplitMix64::new(random.next_u64()), data.path());
    let disturbed = 1 + random.below(DISTURBED_MAX);
    let mut hosts = Hosts {
        shared: Arc::clone(&shared),
        data: data.path(),
        random,
        now_ms: BEGINS_MS,
        left_behind: 0,
    };
    run_hosts(&mut hosts, disturbed)?;
    let (trace, lines, last) = shared.trace.end();
    Ok(Report {
        seed,
        law: shared.law(),
        trace,
        lines,
        last,
    })
}

/// A runtime for each host: when it is dropped, the host stops where it stands.
fn run_hosts(hosts: &mut Hosts<'_>, disturbed: u64) -> io::Result<()> {
    runtime()?.block_on(hosts.begin());
    for _ in 0..disturbed {
        if hosts.shared.law().is_none() {
            runtime()?.block_on(hosts.disturbed());
            hosts.shared.known_programs().crash();
        }
    }
    if hosts.shared.law().is_none() {
        runtime()?.block_on(hosts.at_peace());
    }
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
}
