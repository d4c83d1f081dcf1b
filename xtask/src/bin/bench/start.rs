//! From the command to Ready, for an image that is already built, against `docker run` with the
//! same runtime, image, limits and readiness probe.
//!
//! ```text
//! ours   POST /programs/counter/start?wait=60s ──────────────────────────► 200, Ready
//! peer   docker run -d --runtime=runsc IMAGE ── GET /watcher/status ... ─► 200
//! ```
//! Needs a private engine around it: `scripts/bench start`.

use std::{env, net::SocketAddr, process::Command, time::Instant};

use anyhow::{Context, Result};

use crate::{
    http,
    real_host::{Host, run, until},
    rollout,
    row::{Goal, Row},
    turns::median,
};

const NETWORK: &str = "hersh-bench";
const PEER_ADDRESS: &str = "10.213.77.2";
const GOAL_RATIO: f64 = 1.10;
/// Starts of each: one alone takes 370 to 510 ms, whoever starts it.
const STARTS: usize = 15;

/// Measures starts of both, and the gaps of rollouts.
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
    host.command("start", "Ready")?;
    let start_ms = median(ours);
    let mut rows = vec![Row::new(
        "start",
        "built image to Ready",
        (start_ms, "ms"),
        ("docker run --runtime=runsc", median(peer)),
        Goal::RatioAtMost(GOAL_RATIO),
    )];
    rows.extend(rollout::rows(&host, start_ms)?);
    Ok(rows)
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
