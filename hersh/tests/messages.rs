//! Messages to a watcher that is ended at random moments: what was accepted has its run, once, in each sender's
//! order. The child is this program again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "api")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use hersh::{Context, Error, Result};
use hersh_machine::SplitMix64;

const KILLS: usize = 300;
const STOPS: usize = 100;
const SENDERS: usize = 4;
const SEED: u64 = 20_261_201;
/// Most acknowledgements that are waited for, and most turns after them, before an end.
const ACKNOWLEDGEMENTS: u64 = 6;
const SPINS: u64 = 500_000;
const PATIENCE: Duration = Duration::from_secs(60);

const SOCKET: &str = "HERSH_WATCHER_SOCKET";

/// What the senders share.
#[derive(Default)]
struct Senders {
    acknowledged: AtomicU64,
    again: AtomicU64,
    over: AtomicBool,
    /// How many children have been up. A sender whose message got no answer waits for the next.
    lives: Mutex<u64>,
    next_life: Condvar,
}

#[test]
fn accepted_is_run_once_in_each_senders_order_over_400_ends() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let senders = Senders::default();
    let mut random = SplitMix64::new(SEED);
    let sent: Vec<u64> = std::thread::scope(|scope| {
        let sends = |sender| {
            let (senders, socket) = (&senders, &socket);
            scope.spawn(move || senders.send(sender, socket))
        };
        let all: Vec<_> = (0..SENDERS).map(sends).collect();
        for end in 0..KILLS + STOPS {
            let mut child = start(folder.path());
            senders.begin_life(&socket);
            senders.wait_for(random.below(ACKNOWLEDGEMENTS));
            for _ in 0..random.below(SPINS) {
                std::hint::spin_loop();
            }
            if end % 4 == 3 {
                let id = child.id().to_string();
                let told = Command::new("kill").args(["-TERM", &id]).status();
                assert!(told.unwrap().success());
            } else {
                child.kill().unwrap();
            }
            child.wait().unwrap();
        }
        senders.over.store(true, Ordering::Relaxed);
        let mut last = start(folder.path());
        senders.begin_life(&socket);
        let sent = all
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .collect();
        post(&socket, "end", None).expect("the last message is accepted");
        assert!(last.wait().unwrap().success());
        sent
    });
    let kept = std::fs::read(folder.path().join("state/context.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    for (sender, sent) in sent.iter().enumerate() {
        assert_eq!(kept["values"][format!("sender {sender}")], *sent, "{kept}");
    }
    assert_eq!(kept["values"]["wrong"], serde_json::Value::Null);
    let (all, again) = (
        sent.iter().sum::<u64>(),
        senders.again.load(Ordering::Relaxed),
    );
    println!(
        "{all} messages over {} ends, {again} were sent again",
        KILLS + STOPS
    );
    assert!(all > 500 && again > 50);
}

#[test]
fn a_message_that_ends_the_process_each_time_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let senders = Senders::default();
    let mut child = start(folder.path());
    senders.begin_life(&socket);
    // The process may end before the answer is written.
    let _ = post(&socket, "die", None);
    let mut lives = 1;
    // The run of the first life is noted nowhere, those of the next three are.
    while !child.wait().unwrap().success() {
        lives += 1;
        child = start(folder.path());
        if lives == 5 {
            senders.begin_life(&socket);
            post(&socket, "end", None).expect("the watcher lives");
        }
    }
    assert_eq!(lives, 5);
    let kept = std::fs::read(folder.path().join("state/context.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    let aside = &kept["mail"]["set_aside"]["1"];
    assert_eq!(aside["message"]["content"], "die", "{kept}");
    let reason = "the watcher ended 3 times in the middle of its run";
    assert_eq!(aside["reason"], reason);
}

impl Senders {
    /// Sends numbered messages until it is over, each until it is acknowledged. Returns the last number.
    fn send(&self, sender: usize, socket: &Path) -> u64 {
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            number += 1;
            let message = format!("{sender} {number}");
            let key = format!("{sender}-{number}");
            loop {
                let life = *self.lives.lock().unwrap();
                if post(socket, &message, Some(&key)).is_some() {
                    break;
                }
                self.again.fetch_add(1, Ordering::Relaxed);
                let lives = self.lives.lock().unwrap();
                let waited = self
                    .next_life
                    .wait_timeout_while(lives, PATIENCE, |it| *it == life);
                assert!(!waited.unwrap().1.timed_out(), "{message}");
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    /// Waits until a child takes connections, and wakes the senders.
    fn begin_life(&self, socket: &Path) {
        let began = Instant::now();
        while UnixStream::connect(socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "nobody listens");
            std::thread::yield_now();
        }
        *self.lives.lock().unwrap() += 1;
        self.next_life.notify_all();
    }

    fn wait_for(&self, more: u64) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "nothing is acknowledged");
            std::thread::yield_now();
        }
    }
}

/// Posts a message; `None` unless it is acknowledged as durable.
fn post(socket: &Path, content: &str, key: Option<&str>) -> Option<()> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = format!("{{\"content\": \"{content}\"}}");
    let key = key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
    let request = format!(
        "POST /watcher/message HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{key}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let is_taken = answer.starts_with("HTTP/1.1 200") && answer.contains("\"durable\":true");
    is_taken.then_some(())
}

fn start(folder: &Path) -> Child {
    let state: PathBuf = folder.join("state");
    Command::new(std::env::current_exe().unwrap())
        .args(["the_watcher", "--exact", "--nocapture"])
        .env("HERSH_STATE_DIR", state)
        .env("HERSH_WATCHER_ADDRESS", "none")
        .env(SOCKET, folder.join("api.sock"))
        .env("HERSH_TEST_SEED", SEED.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// No test of its own: what the test above starts and ends.
#[test]
fn the_watcher() {
    if std::env::var_os("HERSH_TEST_SEED").is_none() {
        return;
    }
    let mut random = SplitMix64::new(u64::from(std::process::id()));
    let _ = hersh::main(async move |cx: &mut Context| run(cx, &mut random).await);
}

async fn run(cx: &mut Context, random: &mut SplitMix64) -> Result {
    let Some(message) = cx.message() else {
        return Ok(());
    };
    if &*message == "end" {
        return Err(hersh::Control::stop("all is said").into());
    }
    if &*message == "die" {
        std::process::abort();
    }
    let (sender, number) = message.split_once(' ').ok_or(Error::msg("no message"))?;
    let (key, number) = (format!("sender {sender}"), number.parse::<u64>()?);
    let before: u64 = cx.value(&key)?.unwrap_or_default();
    if before + 1 != number {
        cx.set("wrong", &format!("{message} after {before}"))?;
    }
    cx.set(&key, &number)?;
    if random.chance(10) {
        tokio::task::yield_now().await;
    }
    Ok(())
}
