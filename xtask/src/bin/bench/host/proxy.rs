//! The proxy under load, against other proxies before the same upstream and against none.
//!
//! ```text
//! wrk ──► host: token, route, proxy ──┐
//!     ──► nginx, HAProxy ─────────────┼──► bare axum server, port 8080
//!     ────────────────────────────────┘
//! ```
//! Each of them is a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, routing::get};
use hersh_host::testkit::{FakeEngine, Setup, TestHost};
use tokio::net::TcpListener;

use super::{
    SUITE,
    peers::{self, Server},
};
use crate::{
    http,
    row::{Goal, Row},
    turns::{FEW_RUNS, turn_by_turn},
    wrk::{Load, Push, wrk},
};

/// Nobody else's, so that port 8080 is free there.
const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 77, 80, 80);
const SMALL: &str = r#"{"state":"Ready","isRunning":true,"watcherID":"counter"}"#;
const LARGE_BYTES: usize = 1 << 20;
const SMALL_PATH: &str = "/watcher/small";
const LARGE_PATH: &str = "/watcher/large";

const CROWD: Push = Push {
    threads: 2,
    connections: 32,
    seconds: 3,
};
const ALONE: Push = Push {
    threads: 1,
    connections: 1,
    seconds: 2,
};
const GOAL_RATIO: f64 = 0.9;
const GOAL_ADDED_US: f64 = 150.0;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let upstream = SocketAddr::from((UPSTREAM, 8080));
    let program = Server::new(child("upstream", folder.path())?.0, upstream)?;
    let host = Host::start(&folder.path().join("data"))?;
    let nginx = peers::nginx(folder.path(), upstream)?;
    let haproxy = peers::haproxy(folder.path(), upstream)?;
    let mut rows = Vec::new();
    for (name, path) in [("small body", SMALL_PATH), ("1 MiB body", LARGE_PATH)] {
        let figures = |load: Load| [load.per_second, load.p50_us, load.p99_us];
        let ask = |server: &Server| wrk(server.address, path, CROWD, &[]).map(figures);
        let [ours, nginx, haproxy, direct] = turn_by_turn(
            FEW_RUNS,
            [
                &|| host.wrk(path, CROWD).map(figures),
                &|| ask(&nginx),
                &|| ask(&haproxy),
                &|| ask(&program),
            ],
        )?;
        rows.extend(crowd(name, ours, nginx, haproxy, direct));
    }
    let p50 = |load: Load| [load.p50_us];
    let ask = |server: &Server| wrk(server.address, SMALL_PATH, ALONE, &[]).map(p50);
    let [[ours], [nginx], [haproxy], [direct]] = turn_by_turn(
        FEW_RUNS,
        [
            &|| host.wrk(SMALL_PATH, ALONE).map(p50),
            &|| ask(&nginx),
            &|| ask(&haproxy),
            &|| ask(&program),
        ],
    )?;
    for (peer, theirs, goal) in [
        ("nginx", nginx, Goal::ValueAtMost(GOAL_ADDED_US)),
        ("HAProxy", haproxy, Goal::None),
    ] {
        let name = "proxy, 1 connection, added p50";
        let added = (ours - direct, "us");
        rows.push(Row::new(SUITE, name, added, (peer, theirs - direct), goal));
    }
    Ok(rows)
}

/// Requests per second and latencies; only the better peer's throughput is a goal.
fn crowd(
    name: &str,
    ours: [f64; 3],
    nginx: [f64; 3],
    haproxy: [f64; 3],
    direct: [f64; 3],
) -> Vec<Row> {
    let better = if nginx[0] > haproxy[0] {
        "nginx"
    } else {
        "HAProxy"
    };
    let mut rows = Vec::new();
    for (peer, theirs) in [("nginx", nginx), ("HAProxy", haproxy), ("no proxy", direct)] {
        let goal = if peer == better {
            Goal::RatioAtLeast(GOAL_RATIO)
        } else {
            Goal::None
        };
        let units = [
            ("throughput", "1/s", goal),
            ("p50", "us", Goal::None),
            ("p99", "us", Goal::None),
        ];
        for ((what, unit, goal), (value, theirs)) in
            units.into_iter().zip(ours.into_iter().zip(theirs))
        {
            let name = format!("proxy, {name}, {what}");
            rows.push(Row::new(SUITE, name, (value, unit), (peer, theirs), goal));
        }
    }
    rows
}

/// A host with one program that is Ready.
pub(super) struct Host {
    server: Server,
    pub(super) token: String,
}

impl Host {
    pub(super) fn start(data: &Path) -> Result<Self> {
        let (process, address) = child("serve", data)?;
        let address = address.parse()?;
        let server = Server::new(process, address)?;
        let token = std::fs::read_to_string(data.join("admin-token"))?
            .trim()
            .to_owned();
        let program = r#"{"name":"p","dockerfile":"FROM scratch","src_files":{},"readiness":{"kind":"none"}}"#;
        for (path, body) in [("/programs", program), ("/programs/p/start?wait=10s", "")] {
            let (status, said) = http::send(address, "POST", path, Some(&token), body)?;
            ensure!([200, 201].contains(&status), "POST {path}: {status} {said}");
        }
        Ok(Self { server, token })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Bytes of its process that are in memory.
    pub(super) fn resident_bytes(&self) -> Result<f64> {
        self.server.resident_bytes()
    }

    fn wrk(&self, path: &str, push: Push) -> Result<Load> {
        let header = format!("Authorization: Bearer {}", self.token);
        let path = format!("/programs/p{path}");
        wrk(self.server.address, &path, push, &["-H", &header])
    }
}

/// Starts one of the children, and reads the line with its address.
fn child(what: &str, folder: &Path) -> Result<(std::process::Child, String)> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(["child", "host", what])
        .env("HERSH_BENCH_FOLDER", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = process.stdout.take().context("the child has no output")?;
    BufReader::new(output).read_line(&mut line)?;
    Ok((process, line.trim().to_owned()))
}

/// The child `serve`: a host.
pub(super) fn serve() -> Result<()> {
    let folder = std::env::var("HERSH_BENCH_FOLDER")?;
    runtime()?.block_on(async {
        let engine = Arc::new(FakeEngine::default());
        let setup = Setup::new(Path::new(&folder), &engine)?.reached_at(IpAddr::from(UPSTREAM));
        let host = TestHost::start(setup).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        host.serve(listener, std::future::pending()).await?;
        Ok(())
    })
}

/// The child `upstream`: what a program would answer, as fast as it can be.
pub(super) fn upstream() -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind((UPSTREAM, 8080)).await?;
        println!("{}", listener.local_addr()?);
        let large: &'static [u8] = vec![b'x'; LARGE_BYTES].leak();
        let router = Router::new()
            .route(SMALL_PATH, get(async || SMALL))
            .route(LARGE_PATH, get(async move || large));
        axum::serve(listener, router).await?;
        Ok(())
    })
}

/// As `hersh host` has it.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime)
}
