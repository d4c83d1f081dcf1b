//! From the command to Ready, for an image that is already built, against `docker run` with the
//! same runtime, image, limits and readiness probe.
//!
//! ```text
//! ours   POST /programs/counter/start?wait=60s ──────────────────────────► 200, Ready
//! peer   docker run -d --runtime=runsc IMAGE ── GET /watcher/status ... ─► 200
//! ```
//! Needs a private engine around it: `scripts/bench start`.

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

use crate::{
    http,
    row::{Goal, Row},
    turns::median,
};

const NETWORK: &str = "hersh-bench";
const PEER_ADDRESS: &str = "10.213.77.2";
const POLL: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(60);
const GOAL_RATIO: f64 = 1.10;
/// Starts of each: one alone takes 370 to 510 ms, whoever starts it.
const STARTS: usize = 15;

/// Measures both.
pub(crate) fn suite() -> Result<Vec<Row>> {
    let engine = env::var("HERSH_TEST_ENGINE")
        .context("no engine to measure on: run this as `scripts/bench start`")?;
    let host = Host::start(&engine)?;
    host.hersh(&["deploy", "examples/counter"])?;
    let image = host.program()?["image_id"]
        .as_str()
        .context("the deployed program has no image")?
        .to_owned();
    docker(&[
        "network",
        "create",
        "--internal",
        "--subnet",
        "10.213.77.0/29",
        NETWORK,
    ])?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        host.command("stop", "Stopped")?;
        ours.push(host.command("start", "Ready")?);
        host.command("stop", "Stopped")?;
        peer.push(docker_run(&image)?);
        docker(&["rm", "--force", NETWORK])?;
    }
    docker(&["network", "rm", NETWORK])?;
    Ok(vec![Row::new(
        "start",
        "built image to Ready",
        (median(ours), "ms"),
        ("docker run --runtime=runsc", median(peer)),
        Goal::RatioAtMost(GOAL_RATIO),
    )])
}

/// A host that runs for this measurement, in a folder of its own.
struct Host {
    process: Child,
    address: SocketAddr,
    binary: PathBuf,
    token: String,
    folder: tempfile::TempDir,
}

impl Host {
    fn start(engine: &str) -> Result<Self> {
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

    fn hersh(&self, words: &[&str]) -> Result<String> {
        run(Command::new(&self.binary)
            .args(words)
            .env("HERSH_HOST", format!("http://{}", self.address))
            .env("HERSH_TOKEN", &self.token))
    }

    fn program(&self) -> Result<Value> {
        let (status, body) =
            http::request(self.address, "GET", "/programs/counter", Some(&self.token))?;
        ensure!(status == 200, "the host answered {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Gives a command and returns the milliseconds until the program was in `state`.
    fn command(&self, command: &str, state: &str) -> Result<f64> {
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

/// The peer: milliseconds from the command to the first good answer.
fn docker_run(image: &str) -> Result<f64> {
    let address = SocketAddr::new(PEER_ADDRESS.parse()?, 8080);
    let start = Instant::now();
    docker(&[
        "run",
        "--detach",
        "--runtime=runsc",
        "--name",
        NETWORK,
        "--network",
        NETWORK,
        "--ip",
        PEER_ADDRESS,
        "--read-only",
        "--tmpfs",
        "/state",
        "--tmpfs",
        "/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--memory=64m",
        "--cpus=0.5",
        "--pids-limit=256",
        image,
    ])?;
    until("docker's container answers", || {
        http::request(address, "GET", "/watcher/status", None)
            .is_ok_and(|(status, _)| status == 200)
    })?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn docker(words: &[&str]) -> Result<String> {
    run(Command::new("docker").args(words))
}

fn run(command: &mut Command) -> Result<String> {
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

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds() {
        ensure!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::sleep(POLL);
    }
    Ok(())
}
