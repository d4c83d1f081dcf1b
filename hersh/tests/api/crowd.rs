//! Ten thousand clients of the event stream: the engine does not notice, and memory is bounded.
//!
//! Both ends of so many connections exceed what one process may open, so the clients are another
//! process: this binary again, asked for one ignored test.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hersh::{Context, Result, Watcher};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::client::{Place, metric};

const CLIENTS: usize = 10_000;
/// Clients that never read.
const SILENT: usize = 50;
const MESSAGES: u64 = 100_000;
const SOCKET: &str = "HERSH_TEST_CROWD_SOCKET";
const REQUEST: &[u8] = b"GET /watcher/events HTTP/1.0\r\nhost: x\r\n\r\n";
/// Most memory of the process with the watcher, KiB.
const MEMORY_LIMIT_KIB: u64 = 500_000;

/// A failing test leaves no process behind.
struct Crowd(Child);

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn ten_thousand_clients_hold_up_no_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let watcher = start(&path).await;
    watcher.ready().await.unwrap();
    let crowd = Command::new(std::env::current_exe().unwrap())
        .args(["crowd::the_clients", "--exact", "--ignored", "--nocapture"])
        .env(SOCKET, &path)
        .stdout(Stdio::null())
        .spawn();
    let mut crowd = Crowd(crowd.unwrap());
    // The socket is crowded.
    let place = Place::Tcp(watcher.api_address().unwrap());
    let clients = "hersh_watcher_event_clients";
    while metric(&place, clients).await < CLIENTS as u64 {
        assert!(
            crowd.0.try_wait().unwrap().is_none(),
            "the clients are there"
        );
    }
    let silent =
        tokio::task::spawn_blocking(move || (0..SILENT).map(|_| ask(&path)).collect::<Vec<_>>());
    let silent = silent.await.unwrap();
    let sender = watcher.clone();
    let sending = tokio::task::spawn_blocking(move || {
        for number in 0..MESSAGES {
            while sender.send(format!("{number}")).is_err() {
                std::thread::yield_now();
            }
        }
    });
    sending.await.unwrap();
    while watcher.value::<u64>("served").unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // Telling goes on until those who do not read are cut off; the others stay.
    let cut_off = "hersh_watcher_connections_cut_off_total";
    let content = "x".repeat(8 * 1024);
    while metric(&place, cut_off).await < SILENT as u64 {
        let _ = watcher.send(content.as_str());
    }
    assert_eq!(metric(&place, cut_off).await, SILENT as u64);
    assert_eq!(metric(&place, clients).await, CLIENTS as u64);
    assert!(metric(&place, "hersh_watcher_event_batches_total").await > 0);
    drop(silent);
    watcher.kill("enough");
    watcher.wait().await;
    let mut child = tokio::task::spawn_blocking(move || crowd.0.wait().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(60), &mut child).await;
    assert!(
        status.unwrap().unwrap().success(),
        "every client saw what it should"
    );
    let peak_kib = peak_memory_kib();
    assert!(peak_kib < MEMORY_LIMIT_KIB, "{peak_kib} KiB");
}

/// Notes in its context when all messages were run.
async fn start(path: &Path) -> Watcher {
    let mut served = 0_u64;
    Watcher::builder("crowd")
        .api((Ipv4Addr::LOCALHOST, 0))
        .api_socket(path)
        .api_connection_limit(CLIENTS + SILENT + 10)
        .api_write_timeout(Duration::from_secs(3))
        .start(async move |cx: &mut Context| -> Result {
            if cx.message().is_some() {
                served += 1;
            }
            if served == MESSAGES {
                cx.set("served", &served)?;
            }
            Ok(())
        })
        .await
        .unwrap()
}

/// The other process: every client reads to the end.
#[tokio::test]
#[ignore = "started by the test above"]
async fn the_clients() {
    let path = PathBuf::from(std::env::var_os(SOCKET).expect("the socket of a watcher"));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let stream = ask(&path);
        stream.set_nonblocking(true).unwrap();
        let mut stream = UnixStream::from_std(stream).unwrap();
        clients.spawn(async move {
            let mut tail = Vec::new();
            let mut chunk = [0; 4 * 1024];
            loop {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => tail.extend_from_slice(&chunk[..count]),
                }
                let old = tail.len().saturating_sub(200);
                tail.drain(..old);
            }
            String::from_utf8_lossy(&tail).into_owned()
        });
    }
    let tails = clients.join_all().await;
    let end = "event: end\ndata: {\"state\":\"Killed\",\"reason\":\"enough\"}\n\n";
    let ended = tails.iter().filter(|tail| tail.ends_with(end)).count();
    assert_eq!(ended, CLIENTS, "all read to the end");
}

/// Waits for its turn: the socket's backlog is shorter than the crowd.
fn ask(path: &Path) -> std::os::unix::net::UnixStream {
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.write_all(REQUEST).unwrap();
    stream
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}
