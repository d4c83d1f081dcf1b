//! The counter as a process: environment, API, signals, `kill -9`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest that any answer of these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    child: Child,
    address: Option<SocketAddr>,
    /// What the first line said that it printed.
    message: String,
    stdout: BufReader<std::process::ChildStdout>,
}

/// Starts the counter and reads its first line, which names the address or the fault.
fn start_on(folder: &Path, address: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_counter"))
        .env("HERSH_WATCHER_ADDRESS", address)
        .env("HERSH_STATE_DIR", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let first_line: Value = serde_json::from_str(&line).unwrap();
    let message = first_line["message"].as_str().unwrap().to_owned();
    Running {
        child,
        address: message
            .strip_prefix("the API listens on ")
            .map(|at| at.parse().unwrap()),
        message,
        stdout,
    }
}

/// Starts the counter on a free port.
fn start(folder: &Path) -> Running {
    let counter = start_on(folder, "127.0.0.1:0");
    if counter.address.is_some() {
        counter.await_reply("/watcher/status", |status| status["state"] == "Ready");
    }
    counter
}

/// A failing test leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.address.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn send(&self, content: &str) {
        let body = json!({ "content": content }).to_string();
        let reply = self.call("POST", "/watcher/message", &body);
        assert_eq!(reply["status"], "message sent", "{reply}");
    }

    fn total(&self) -> Option<i64> {
        let reply = self.call("GET", "/watcher/context", "");
        reply["context"]["total"].as_i64()
    }

    /// Waits until the shown total is `total`: that run is acknowledged.
    fn await_total(&self, total: i64) {
        self.await_reply("/watcher/context", |reply| {
            reply["context"]["total"] == total
        });
    }

    fn await_reply(&self, path: &str, wanted: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        loop {
            let reply = self.call("GET", path, "");
            if wanted(&reply) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{path} stays {reply}");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

#[test]
fn a_stop_signal_ends_it_well_and_every_line_is_json() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let counter = start(folder.path());
        assert!(counter.address.is_some(), "{}", counter.message);
        counter.signal(signal);
        let (status, rest) = counter.end();
        assert_eq!(status.code(), Some(0));
        let lines: Vec<Value> = rest
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let last = lines.last().unwrap();
        assert_eq!(last["watcher"], "counter");
        assert_eq!(last["message"], format!("Stopped: SIG{}", &signal[1..]));
    }
}

#[test]
fn kill_9_at_any_moment_loses_no_acknowledged_addition() {
    let folder = tempfile::tempdir().unwrap();
    let mut least = 0;
    for round in 0..12 {
        let mut counter = start(folder.path());
        let kept = counter.total().unwrap_or(0);
        assert!(
            kept >= least,
            "{kept} is older than the acknowledged {least}"
        );
        for step in 1..=5 {
            counter.send("add 1");
            counter.await_total(kept + step);
        }
        // More are on their way when it dies; each of them is there or is not.
        for _ in 0..round * 3 {
            counter.send("add 1");
        }
        least = counter.total().unwrap();
        let most = kept + 5 + round * 3;
        counter.child.kill().unwrap();
        counter.end();
        let next = start(folder.path());
        let total = next.total().unwrap();
        assert!((least..=most).contains(&total), "{least} {total} {most}");
        least = total;
        next.signal("-KILL");
        next.end();
    }
}

#[test]
fn a_taken_port_and_a_damaged_context_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let counter = start_on(folder.path(), &address.to_string());
    let message = &counter.message;
    let wanted = format!("cannot start: cannot listen on {address}: ");
    assert!(message.starts_with(&wanted), "{message}");
    assert_eq!(counter.end().0.code(), Some(2));

    std::fs::write(folder.path().join("context.json"), "{\"version\":1,").unwrap();
    let counter = start(folder.path());
    let message = &counter.message;
    assert!(
        message.starts_with("cannot start: cannot read the saved context "),
        "{message}"
    );
    assert_eq!(counter.end().0.code(), Some(2));
}

#[test]
fn its_ticks_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let counter = start(folder.path());
    let reply = counter.call("GET", "/watcher/varState", "");
    assert!(reply["variables"]["ticks"]["count"].is_u64(), "{reply}");
    assert_eq!(reply["count"], 1);
    counter.signal("-TERM");
    assert_eq!(counter.end().0.code(), Some(0));
}
