//! The WatcherAPI under load, against a bare handler that answers as many bytes.
//!
//! ```text
//! wrk (2 threads, 32 connections) ──► WatcherAPI ──► status, or a message for a run
//!                                 └─► axum::serve ─► a constant
//! ```

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::any};
use hersh::{Context, Watcher};
use tokio::{net::TcpListener, runtime::Runtime};

use super::{SUITE, builder, messages};
use crate::{
    http,
    row::{Goal, Row},
    turns::{FEW_RUNS, turn_by_turn},
    wrk::{Push, wrk},
};

const PUSH: Push = Push {
    threads: 2,
    connections: 32,
    seconds: 3,
};
const POST: &str = r#"wrk.method = "POST"
wrk.body = '{"content":"message"}'
wrk.headers["Content-Type"] = "application/json"
"#;
const MESSAGE_REPLY: &str = r#"{"status":"message sent"}"#;

const GOAL_RATIO: f64 = 0.8;
const GOAL_LOGS_PER_S: f64 = 5_000.0;
/// What [`hersh::LOG_LINE_LIMIT`] keeps of each kind, so that the rings are full.
const LINES: usize = hersh::LOG_LINE_LIMIT;
/// How often a line is added meanwhile, so that no answer is an old one for long.
const LOG_EVERY: Duration = Duration::from_millis(5);
const BARE: &str = "bare axum handler";

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let watcher = runtime.block_on(watcher())?;
    let ours = watcher.api_address().context("the watcher has no API")?;
    let (_, status) = http::request(ours, "GET", "/watcher/status", None)?;
    let bare_status = runtime.block_on(bare(status))?;
    let bare_message = runtime.block_on(bare(MESSAGE_REPLY.into()))?;
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("post.lua");
    fs::write(&script, POST)?;
    let script = script.to_str().context("the folder's name is no text")?;
    let talker = runtime.block_on(talker())?;
    let talks = talker.api_address().context("the watcher has no API")?;
    let (_, logs) = http::request(talks, "GET", "/watcher/logs", None)?;
    let bare_logs = runtime.block_on(bare(logs))?;
    let sides = turn_by_turn(
        FEW_RUNS,
        [
            &|| rate(talks, "/watcher/logs", None),
            &|| rate(bare_logs, "/watcher/logs", None),
            &|| rate(ours, "/watcher/status", None),
            &|| rate(bare_status, "/watcher/status", None),
            &|| rate(ours, "/watcher/message", Some(script)),
            &|| rate(bare_message, "/watcher/message", Some(script)),
        ],
    )?;
    let [
        [logs],
        [bare_logs],
        [status],
        [bare_status],
        [message],
        [bare_message],
    ] = sides;
    for watcher in [watcher, talker] {
        watcher.stop("measured");
        runtime.block_on(watcher.wait());
    }
    let row = |name: &str, value, peer| {
        let goal = Goal::RatioAtLeast(GOAL_RATIO);
        Row::new(SUITE, name, (value, "1/s"), (BARE, peer), goal)
    };
    Ok(vec![
        row("GET /watcher/status", status, bare_status),
        row("POST /watcher/message", message, bare_message),
        Row::new(
            SUITE,
            "GET /watcher/logs, full, growing",
            (logs, "1/s"),
            (BARE, bare_logs),
            Goal::ValueAtLeast(GOAL_LOGS_PER_S),
        ),
    ])
}

/// Of the same kind for both sides.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

async fn watcher() -> Result<Watcher> {
    let watcher = builder()
        .api(([127, 0, 0, 1], 0))
        .start(async |_: &mut Context| -> hersh::Result { Ok(()) })
        .await?;
    messages::ready(&watcher).await?;
    Ok(watcher)
}

/// A watcher whose logs are full and grow: what runs say, what they change, how they end.
async fn talker() -> Result<Watcher> {
    let watcher = builder()
        .api(([127, 0, 0, 1], 0))
        .start(async |cx: &mut Context| -> hersh::Result {
            cx.watch_tick("tick", LOG_EVERY)?;
            let run = cx.run_number();
            cx.log(format!("this is run {run}, which says what most lines say"));
            cx.set("run", &run)?;
            Ok(())
        })
        .await?;
    messages::ready(&watcher).await?;
    messages::flood_watcher(&watcher, LINES as u64)?;
    messages::runs(&watcher, LINES as u64 + 1)?;
    Ok(watcher)
}

/// Serves `body` on any path, and returns where.
async fn bare(body: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let body: &'static str = body.leak();
    let handler = async move || ([(CONTENT_TYPE, "application/json")], body).into_response();
    let router = Router::new()
        .route("/watcher/status", any(handler))
        .route("/watcher/logs", any(handler))
        .route("/watcher/message", any(handler));
    // Ends with the runtime.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// Requests per second. Every answer must be a good one.
fn rate(address: SocketAddr, path: &str, script: Option<&str>) -> Result<[f64; 1]> {
    let more: &[&str] = match &script {
        Some(script) => &["-s", script],
        None => &[],
    };
    Ok([wrk(address, path, PUSH, more)?.per_second])
}
