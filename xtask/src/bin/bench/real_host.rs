//! A host beside a real engine, steered by the real command and by requests.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http;

/// The pause between two looks at something that nobody tells of.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// The longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A host that runs for this measurement, in a folder of its own.
pub(crate) struct Host {
    process: Child,
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    pub(crate) token: String,
    folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn start(engine: &str) -> Result<Self> {
        let binary = PathBuf::from(env::var("HERSH_BIN").unwrap_or("target/release/hersh".into()));
        let folder = tempfile::tempdir()?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(&binary)
            .args(["host", "--listen", &address.to_string()])
            .args(["--engine", &format!("unix://{engine}"), "--data-dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("host.log"))?)
            .spawn()
            .with_context(|| format!("{} did not start", binary.display()))?;
        let mut host = Self {
            process,
            address,
            binary,
            token: String::new(),
            folder,
        };
        until("the host answers", || {
            http::request(address, "GET", "/healthz", None).is_ok_and(|(status, _)| status == 200)
        })?;
        host.token = std::fs::read_to_string(host.folder.path().join("admin-token"))
            .context("the host wrote no admin token")?
            .trim()
            .to_owned();
        Ok(host)
    }

    pub(crate) fn hersh(&self, words: &[&str]) -> Result<String> {
        run(Command::new(&self.binary)
            .args(words)
            .env("HERSH_HOST", format!("http://{}", self.address))
            .env("HERSH_TOKEN", &self.token))
    }

    pub(crate) fn program(&self) -> Result<Value> {
        let (status, body) =
            http::request(self.address, "GET", "/programs/counter", Some(&self.token))?;
        ensure!(status == 200, "the host answered {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Gives a command and returns the milliseconds until the program was in `state`.
    pub(crate) fn command(&self, command: &str, state: &str) -> Result<f64> {
        let path = format!("/programs/counter/{command}?wait=60s");
        let start = Instant::now();
        let (status, body) = http::request(self.address, "POST", &path, Some(&self.token))?;
        let took = start.elapsed();
        let seen: Value = serde_json::from_str(&body).unwrap_or_default();
        ensure!(
            status == 200 && seen["state"] == state,
            "{command} did not lead to {state}: {status} {body}"
        );
        Ok(took.as_secs_f64() * 1e3)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Runs a command, which must succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .output()
        .with_context(|| format!("{program} did not start"))?;
    if !output.status.success() {
        bail!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds() {
        ensure!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::sleep(POLL);
    }
    Ok(())
}
