//! `kill -9` at random moments: the durable context is that of one committed run, never older than
//! the last one that was acknowledged.
//!
//! The child is this program again. A run of it sets several keys, and says at its beginning what
//! the runs before it left: those are acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use hersh::{Context, Error, Recovery, Result, Watcher};
use hersh_machine::SplitMix64;

const KILLS: usize = 200;
const SEED: u64 = 20_260_101;
/// Most lines that are read, and most turns that are waited, before a kill: some runs' worth.
const LINES: u64 = 6;
const SPINS: u64 = 1_000_000;

/// Names the folder of the durable context to a child.
const FOLDER: &str = "HERSH_TEST_KILL_FOLDER";
/// Marks what a child says; the test harness says other things.
const MARK: &str = "found: ";
/// So long that the context takes several pages.
const LENGTH: usize = 1_000;

#[test]
fn a_kill_at_any_moment_loses_no_acknowledged_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::new(SEED);
    let mut acknowledged = 0;
    let mut moments = [0; 2];
    for kill in 1..=KILLS {
        let mut running = Running::start(folder.path());
        let mut check = |n: u64| {
            assert!(
                n >= acknowledged,
                "kill {kill}, seed {SEED}: {n} is older than {acknowledged}"
            );
            acknowledged = n;
        };
        for _ in 0..=random.below(LINES) {
            check(running.next().expect("it runs until it is killed"));
        }
        for _ in 0..random.below(SPINS) {
            std::hint::spin_loop();
        }
        running.child.kill().unwrap();
        // What it said before it died counts too.
        while let Some(n) = running.next() {
            check(n);
        }
        moments[usize::from(folder.path().join("context.json.new").exists())] += 1;
    }
    let [between, during] = moments;
    println!("{acknowledged} runs; {between} kills between saves and {during} during one");
    assert!(acknowledged > KILLS as u64, "{acknowledged}");
}

/// A child, killed at the latest when it is dropped.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_child", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The number of the run that it found committed; `None` when it says no more.
    fn next(&mut self) -> Option<u64> {
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).unwrap();
            let line = line.strip_suffix('\n')?;
            if let Some((_, found)) = line.split_once(MARK) {
                let numbers: Vec<u64> = found.split(' ').map(|n| n.parse().unwrap()).collect();
                let n = numbers[0];
                assert_eq!(numbers, [n, n, n, checksum(n)], "keys of several runs");
                return Some(n);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test of its own: what the test above starts and kills.
#[test]
fn the_child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let at_once = Recovery {
        light_delays_ms: [1; 3],
        ..Recovery::default()
    };
    let builder = Watcher::builder("child")
        .state_dir(folder)
        .recovery(at_once);
    let (began, begins) = mpsc::channel();
    let managed = async move |cx: &mut Context| -> Result {
        began.send(())?;
        run(cx)
    };
    let watcher = runtime.block_on(builder.start(managed)).unwrap();
    // Two messages for each run that begins, so that one always waits; every fifth fails.
    for (number, ()) in begins.into_iter().enumerate() {
        for message in [2 * number, 2 * number + 1] {
            let message = if message % 5 == 4 { "fail" } else { "go on" };
            let _ = watcher.send(message);
        }
    }
}

fn run(cx: &mut Context) -> Result {
    let a: u64 = cx.value("a")?.unwrap_or_default();
    let b: u64 = cx.value("b")?.unwrap_or_default();
    let c: Vec<u64> = cx.value("c")?.unwrap_or_else(|| vec![0; LENGTH]);
    let sum: u64 = cx.value("sum")?.unwrap_or_default();
    let alike = c.len() == LENGTH && c.iter().all(|number| *number == c[0]);
    let c = if alike { c[0] } else { u64::MAX };
    println!("{MARK}{a} {b} {c} {sum}");

    let Some(message) = cx.message() else {
        return Ok(());
    };
    let n = a + 1;
    cx.set("a", &n)?;
    cx.set("b", &n)?;
    if message.as_ref() == "fail" && !cx.triggered().recovery {
        return Err(Error::msg("halfway"));
    }
    cx.set("c", &vec![n; LENGTH])?;
    cx.set("sum", &checksum(n))?;
    Ok(())
}

fn checksum(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
