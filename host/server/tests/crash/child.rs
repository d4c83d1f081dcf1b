//! A host process: this test program once more, killed by the one that started it.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use hersh_host::testkit::{Setup, TestHost};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
};

/// Names the data folder and the engine's socket to a child.
const DATA: &str = "HERSH_TEST_CRASH_DATA";
const ENGINE: &str = "HERSH_TEST_CRASH_ENGINE";
/// Marks what a child says; the test harness says other things.
const MARK: &str = "listening on ";
const PATIENCE: Duration = Duration::from_secs(30);

/// A host process, killed at the latest when it is dropped.
pub(crate) struct Host {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) began: Instant,
}

impl Host {
    pub(crate) fn start(data: &Path, engine: &Path) -> Self {
        let mut child = again("child::a_host")
            .env(DATA, data)
            .env(ENGINE, engine)
            .spawn()
            .unwrap();
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            began: Instant::now(),
        }
    }

    /// Where it listens, once it does. The admin's token is in the data folder by then.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        let found = async {
            loop {
                let mut line = String::new();
                let read = self.stdout.read_line(&mut line).await.unwrap();
                assert!(read > 0, "the host ended before it listened");
                if let Some((_, address)) = line.split_once(MARK) {
                    return address.trim().parse().unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .expect("it listens")
    }

    /// `kill -9`; its process is gone when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// This program again, with one test only. It ends when the one that started it does.
pub(crate) fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    command
}

/// Ends this process when the one that started it is gone.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

/// No test of its own: what the others start and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host() {
    let (Some(data), Some(engine)) = (std::env::var_os(DATA), std::env::var_os(ENGINE)) else {
        return;
    };
    end_with_parent();
    let setup = Setup::remote(Path::new(&data), engine.into()).unwrap();
    let setup = setup.reached_at(Ipv4Addr::LOCALHOST.into());
    let host = TestHost::start(setup).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{MARK}{}", listener.local_addr().unwrap());
    host.serve(listener, std::future::pending()).await.unwrap();
}
