//! For how long nobody answers while one revision takes the place of another, against a plain stop and start of
//! the same program.
//!
//! ```text
//! GET /watcher/status ── 200 ── 200 ── ✗ ── ✗ ── 200 ── 200
//!                              └──── the gap ────┘
//! ```

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};

use crate::{
    http,
    real_host::{DEADLINE, Host, POLL, until},
    row::{Goal, Row},
    turns::median,
};

const STATUS: &str = "/programs/counter/watcher/status";
/// Gaps of each kind.
const GAPS: usize = 7;
const GOAL_RATIO: f64 = 1.25;
/// How long a revision that never answers is given to be ready.
const NEVER_READY_MS: f64 = 3_000.0;
/// How much longer than its own start, after that time, the revision before may take to answer again.
const GOAL_BACK_MS: f64 = 2_000.0;

/// Measures gaps of the program that `host` runs. `start_ms` is how long a start of it takes.
pub(crate) fn rows(host: &Host, start_ms: f64) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    for name in ["Dockerfile", "counter"] {
        std::fs::copy(
            Path::new("examples/counter").join(name),
            folder.path().join(name),
        )?;
    }
    let manifest = std::fs::read_to_string("examples/counter/hersh.toml")?;
    let deploy = |manifest: &str, more: &str| -> Result<()> {
        std::fs::write(
            folder.path().join("hersh.toml"),
            format!("{manifest}\n{more}"),
        )?;
        host.hersh(&["deploy", "--detach", &folder.path().display().to_string()])?;
        Ok(())
    };
    let (mut replaced, mut plain) = (Vec::new(), Vec::new());
    for number in 0..GAPS {
        plain.push(gap(host, || {
            host.command("stop", "Stopped")?;
            host.command("start", "Ready").map(drop)
        })?);
        until_settled(host)?;
        replaced.push(gap(host, || {
            deploy(&manifest, &format!("[env]\nNUMBER = \"{number}\"\n"))
        })?);
        until_settled(host)?;
    }
    let never = manifest.replace("/watcher/status", "/never");
    let timeouts = format!("[timeouts]\nstart = \"{NEVER_READY_MS}ms\"\n");
    let back = gap(host, || deploy(&never, &timeouts))? - NEVER_READY_MS;
    Ok(vec![
        Row::new(
            "start",
            "last answer of a revision to first of the next",
            (median(replaced), "ms"),
            ("stop and start", median(plain)),
            Goal::RatioAtMost(GOAL_RATIO),
        ),
        Row::new(
            "start",
            "old revision answers, after the deadline and its start",
            (back - start_ms, "ms"),
            ("start", start_ms),
            Goal::ValueAtMost(GOAL_BACK_MS),
        ),
    ])
}

/// Waits until no rollout is under way any more: before, a deploy would go back to the revision before it.
fn until_settled(host: &Host) -> Result<()> {
    until("the revision has settled", || {
        let program = host.program();
        program.is_ok_and(|program| program["state"] == "Ready" && program["rollout"].is_null())
    })
}

/// Returns the longest time without an answer, milliseconds, from the beginning of an action until answers come
/// again. There must be such a time.
fn gap(host: &Host, action: impl FnOnce() -> Result<()>) -> Result<f64> {
    let answers = Answers::default();
    thread::scope(|scope| {
        scope.spawn(|| answers.ask(host.address, &host.token));
        let gap = answers.gap(action);
        answers.is_over.store(true, Ordering::Relaxed);
        gap
    })
}

/// When answers came.
#[derive(Default)]
struct Answers {
    times: Mutex<Vec<Instant>>,
    is_broken: AtomicBool,
    is_over: AtomicBool,
}

impl Answers {
    fn ask(&self, address: SocketAddr, token: &str) {
        while !self.is_over.load(Ordering::Relaxed) {
            match http::request(address, "GET", STATUS, Some(token)) {
                Ok((200, _)) => self.times().push(Instant::now()),
                Ok(_) | Err(_) => self.is_broken.store(true, Ordering::Relaxed),
            }
            thread::sleep(POLL);
        }
    }

    fn gap(&self, action: impl FnOnce() -> Result<()>) -> Result<f64> {
        let began = Instant::now();
        self.until(|times| times.len() >= 2, began)?;
        action()?;
        while !self.is_broken.load(Ordering::Relaxed) {
            ensure!(began.elapsed() < DEADLINE, "every request was answered");
            thread::sleep(POLL);
        }
        let broken = Instant::now();
        self.until(
            |times| times.last().is_some_and(|last| *last > broken),
            began,
        )?;
        let times = self.times();
        let gaps = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
        Ok(gaps.fold(0.0, f64::max))
    }

    fn until(&self, holds: impl Fn(&[Instant]) -> bool, began: Instant) -> Result<()> {
        while !holds(&self.times()) {
            ensure!(began.elapsed() < DEADLINE, "the program does not answer");
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
