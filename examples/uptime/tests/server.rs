//! A real web server on loopback that falters, goes away and comes back: seen from inside a test,
//! and by the program as a process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hersh::Watcher;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use uptime::{History, uptime};

/// Longest that any wait of these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A web server that says one thing.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let task = tokio::spawn(serve(listener, status.clone()));
        Self {
            address,
            status,
            task,
        }
    }

    /// Ends it; its port is free afterwards.
    async fn end(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

async fn serve(listener: TcpListener, status: Arc<AtomicU16>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = [0; 4_096];
        let _ = stream.read(&mut head).await;
        let status = status.load(Ordering::Relaxed);
        let reply = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.write_all(reply.as_bytes()).await;
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn await_line(watcher: &Watcher, wanted: &str) {
    let seen = async {
        while !watcher
            .logs()
            .iter()
            .any(|line| line.message.as_ref() == wanted)
        {
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    assert!(seen.is_ok(), "no {wanted:?} in {:#?}", watcher.logs());
}

#[tokio::test]
async fn a_server_that_falters_goes_away_and_comes_back_is_seen_to() {
    let server = Server::start(anywhere()).await;
    let name = server.address.to_string();
    let env = [
        ("TARGETS", format!("http://{name}")),
        ("INTERVAL", "10ms".into()),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value));
    let watcher = Watcher::builder("uptime")
        .env(env)
        .start(uptime)
        .await
        .unwrap();

    await_line(&watcher, &format!("{name} is up")).await;
    server.status.store(503, Ordering::Relaxed);
    let down = format!("{name} is down: it answers 503 Service Unavailable");
    await_line(&watcher, &down).await;
    let address = server.end().await;
    // Still down, so that is no news; the variable's error says it.
    await_line(
        &watcher,
        &format!("{name}: Connection refused (os error 111)"),
    )
    .await;

    let server = Server::start(address).await;
    let again = format!("{name} is up again after ");
    let is_up = || async {
        while !watcher
            .logs()
            .iter()
            .any(|line| line.message.starts_with(&again))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_up())
        .await
        .expect("it is up again");
    assert_eq!(watcher.status().consecutive_failures, 0);
    watcher.stop("seen");
    assert_eq!(watcher.wait().await.to_string(), "Stopped: seen");
    let history: History = watcher.value(&name).unwrap().unwrap();
    assert!(history.last.unwrap().up);
    assert!(history.failed >= 1 && history.asked > history.failed);
    server.end().await;
}

/// The program as a process.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(targets: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_uptime"))
            .env("HERSH_WATCHER_ADDRESS", "127.0.0.1:0")
            .env("TARGETS", targets)
            .env("INTERVAL", "10ms")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line whose message begins like this; its rest.
    async fn line(&mut self, beginning: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap();
                let message = line["message"].as_str().unwrap();
                if let Some(rest) = message.strip_prefix(beginning) {
                    return rest.to_owned();
                }
            }
            panic!("it ended without {beginning:?}")
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no line {beginning:?}"))
    }

    async fn end(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends").unwrap()
    }
}

#[tokio::test]
async fn the_program_tells_it_too_and_shows_it() {
    let server = Server::start(anywhere()).await;
    let name = server.address.to_string();
    let mut program = Program::start(&format!("http://{name}/"));
    let api: SocketAddr = program.line("the API listens on ").await.parse().unwrap();
    program.line(&format!("{name} is up")).await;
    server.end().await;
    let fault = program.line(&format!("{name} is down: ")).await;
    assert_eq!(fault, "Connection refused (os error 111)");

    let mut stream = TcpStream::connect(api).await.unwrap();
    let request = b"GET /watcher/varState HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let body: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    let shown = &body["variables"][&name];
    assert_eq!(
        shown["value"]["status"], 200,
        "the last good answer: {body}"
    );
    assert_eq!(shown["error"], fault);

    let pid = program.child.id().unwrap().to_string();
    let sent = Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .await
        .unwrap();
    assert!(sent.success());
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn the_program_crashes_at_once_when_its_targets_make_no_sense() {
    let mut program = Program::start("nowhere");
    let fault = program.line("Crashed: ").await;
    assert!(
        fault.starts_with("TARGETS is \"nowhere\": give addresses"),
        "{fault}"
    );
    assert_eq!(program.end().await.code(), Some(1));
}
