//! Commands with a durable journal, and lists of many programs.
//!
//! ```text
//! 8 clients ──► POST /programs, POST /programs/{id}/start ──► acknowledged: on the disk
//! peer          one writer, 4 KiB appended and synced each time
//! ```

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{SUITE, proxy::Host};
use crate::{
    http,
    row::{Goal, Row},
    wrk::{Push, wrk},
};

const CLIENTS: usize = 8;
/// Programs whose commands are timed.
const TIMED: usize = 1_000;
/// Programs that are registered in the end.
const REGISTERED: usize = 10_000;
const SYNCING: Duration = Duration::from_secs(1);
const LOOK: Push = Push {
    threads: 1,
    connections: 8,
    seconds: 3,
};

/// Measures all.
pub(super) fn rows() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"))?;
    let synced = syncs_per_second(folder.path())?;
    let created = commands_per_second(0..TIMED, |n| create(&host, n))?;
    let (list_few, memory_few) = (list(&host)?, host.resident_bytes()?);
    let started = commands_per_second(0..TIMED, |n| start(&host, n))?;
    commands_per_second(TIMED..REGISTERED, |n| create(&host, n))?;
    let (list_many, memory_many) = (list(&host)?, host.resident_bytes()?);
    let durable = |name: &str, value: f64| {
        let peer = ("one fdatasync each", synced);
        Row::new(SUITE, name, (value, "1/s"), peer, Goal::None)
    };
    let page = |name: &str, value: f64, few: f64, unit| {
        let peer = ("1,000 programs", few);
        Row::new(SUITE, name, (value, unit), peer, Goal::None)
    };
    let each = (memory_many - memory_few) / (REGISTERED - TIMED) as f64;
    Ok(vec![
        durable("create, acknowledged", created),
        durable("start, acknowledged", started),
        page(
            "GET /programs, page of 100 of 10,000",
            list_many.per_second,
            list_few.per_second,
            "1/s",
        ),
        page("the same, p50", list_many.p50_us, list_few.p50_us, "us"),
        page("the same, p99", list_many.p99_us, list_few.p99_us, "us"),
        page(
            "memory at 10,000 registered",
            memory_many,
            memory_few,
            "bytes",
        ),
        page(
            "memory of one registered",
            each,
            memory_few / TIMED as f64,
            "bytes",
        ),
    ])
}

fn list(host: &Host) -> Result<crate::wrk::Load> {
    let header = format!("Authorization: Bearer {}", host.token);
    wrk(
        host.address(),
        "/programs?limit=100",
        LOOK,
        &["-H", &header],
    )
}

fn create(host: &Host, number: usize) -> Result<()> {
    let program = format!(
        r#"{{"name":"n{number}","dockerfile":"FROM scratch","src_files":{{}},"readiness":{{"kind":"none"}}}}"#
    );
    command(host, "/programs", &program, 201)
}

fn start(host: &Host, number: usize) -> Result<()> {
    command(host, &format!("/programs/n{number}/start"), "", 202)
}

fn command(host: &Host, path: &str, body: &str, expected: u16) -> Result<()> {
    let (status, said) = http::send(host.address(), "POST", path, Some(&host.token), body)?;
    ensure!(status == expected, "POST {path}: {status} {said}");
    Ok(())
}

/// Gives each of `numbers` to one of the clients, and tells how many were done in a second.
fn commands_per_second(
    numbers: std::ops::Range<usize>,
    work: impl Fn(usize) -> Result<()> + Sync,
) -> Result<f64> {
    let count = numbers.len();
    let next = AtomicUsize::new(numbers.start);
    let began = Instant::now();
    let failed = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= numbers.end {
                            return Ok(());
                        }
                        work(number)?;
                    }
                })
            })
            .collect();
        let ends = clients.into_iter().map(thread::ScopedJoinHandle::join);
        ends.filter_map(|end| match end {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(anyhow::anyhow!("a client panicked")),
        })
        .next()
    });
    match failed {
        Some(error) => bail!(error),
        None => Ok(count as f64 / began.elapsed().as_secs_f64()),
    }
}

/// How often the disk takes 4 KiB for good, one after the other.
fn syncs_per_second(folder: &Path) -> Result<f64> {
    let mut file = File::create(folder.join("synced"))?;
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < SYNCING {
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
