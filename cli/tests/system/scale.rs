//! Two hundred programs at once in real gVisor: each is built, started, listed, sent a message of
//! its own, and stopped.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Host, all_containers, counter};

const PROGRAMS: usize = 200;
/// Requests at once, from the test's side.
const CLIENTS: usize = 8;
/// How long all of them together may take for one step.
const PATIENCE: Duration = Duration::from_secs(300);
/// The counter, with less than it asks for.
const MANIFEST: &str = "[resources]\nmemory = \"64MiB\"\ncpus = 0.5\n[timeouts]\nstop = \"1s\"\n";

#[test]
fn two_hundred_programs_run_at_once() {
    let host = Host::start();
    let archive = archive();
    let free_before = free_bytes();

    timed("sent", || {
        each(|id| expect(201, &host.upload(&format!("/programs?name={id}"), &archive)));
    });
    timed("built, started and Ready", || {
        each(|id| expect(202, &host.post(&format!("/programs/{id}/start"))));
        until_all(&host, "Ready");
    });
    let used = free_before.saturating_sub(free_bytes());
    println!(
        "memory: {} MiB in all, {} MiB each",
        used >> 20,
        (used / PROGRAMS as u64) >> 20
    );
    assert_eq!(all_containers().len(), PROGRAMS);

    timed("listed", || {
        let list: Value = serde_json::from_str(&host.run(&["-o", "json", "ps"])).unwrap();
        assert_eq!(list["programs"].as_array().unwrap().len(), PROGRAMS);
    });
    timed("sent a message each", || {
        each(|id| {
            let message = json!({"content": format!("add {}", amount(id))});
            let path = format!("/programs/{id}/watcher/message");
            expect(200, &host.post_json(&path, &message));
        });
        each(|id| until(id, || total(&host, id) >= amount(id)));
    });
    timed("stopped", || {
        each(|id| expect(202, &host.post(&format!("/programs/{id}/stop"))));
        until_all(&host, "Stopped");
    });
    timed("started all at once and Ready again", || {
        each(|id| expect(202, &host.post(&format!("/programs/{id}/start"))));
        until_all(&host, "Ready");
    });
    timed("stats read", || {
        each(|id| expect(200, &host.get(&format!("/programs/{id}/stats"))));
    });
    timed("stopped", || {
        each(|id| expect(202, &host.post(&format!("/programs/{id}/stop"))));
        until_all(&host, "Stopped");
    });
    assert_eq!(all_containers().len(), 0);
    timed("removed", || {
        each(|id| expect(204, &host.delete(&format!("/programs/{id}?wait=5m"))));
    });
}

fn timed(what: &str, step: impl FnOnce()) {
    let began = Instant::now();
    step();
    println!(
        "{PROGRAMS} programs {what} in {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// Does `act` for each program, [`CLIENTS`] at a time.
fn each(act: impl Fn(&str) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= PROGRAMS {
                        return;
                    }
                    act(&format!("crowd-{number}"));
                }
            });
        }
    });
}

fn expect(status: u16, answer: &(u16, String)) {
    assert_eq!(answer.0, status, "{}", answer.1);
}

/// Waits until every program is in `state`; one that failed ends the wait.
fn until_all(host: &Host, state: &str) {
    until(state, || {
        let list: Value = serde_json::from_str(&host.run(&["-o", "json", "ps"])).unwrap();
        let programs = list["programs"].as_array().unwrap();
        if let Some(failed) = programs.iter().find(|it| it["state"] == "Error") {
            panic!("{failed:#}");
        }
        programs.iter().all(|program| program["state"] == state)
    });
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// A number that tells programs apart, larger than what a counter counts by itself meanwhile.
fn amount(id: &str) -> u64 {
    let number: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
    1_000_000 * (number + 1)
}

fn total(host: &Host, id: &str) -> u64 {
    let (status, body) = host.get(&format!("/programs/{id}/watcher/context"));
    assert_eq!(status, 200, "{body}");
    let context: Value = serde_json::from_str(&body).unwrap();
    context["context"]["total"].as_u64().unwrap_or(0)
}

/// The counter's folder, with less memory than it asks for.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let dockerfile = "FROM scratch\nCOPY counter /counter\nENTRYPOINT [\"/counter\"]\n";
    let binary = std::fs::read(format!("{}/counter", counter())).unwrap();
    let files = [
        ("Dockerfile", 0o644, dockerfile.as_bytes()),
        ("hersh.toml", 0o644, MANIFEST.as_bytes()),
        ("counter", 0o755, &binary),
    ];
    for (name, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn free_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}
