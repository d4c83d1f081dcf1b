//! A journal of a host that did not number instances is read, and its programs go on.
//!
//! `fixtures/unnumbered.sql` holds the rows that such a host wrote, with a program in every state. It
//! died while builds, starts, stops and a removal were under way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{path::Path, sync::Arc, time::Duration};

use hersh_host::testkit::{FakeEngine, Setup, TestHost};
use hersh_journal::{JOURNAL_FILE, Journal};
use hersh_program::{
    BuildId, ContainerId, ImageId, InstanceId, InstanceNumber, Program, ProgramId,
};
use hersh_storage::Storage;
use rusqlite::Connection;

const ROWS: &str = include_str!("fixtures/unnumbered.sql");
/// The name of the source tree of every program in it, which is one Dockerfile.
const BUILD: &str = "build-54c5b2453ea7640ed840b93d31fec182aa6b5becec195b247e31eb9ececd24a6";
/// The image that was being started.
const STARTING: &str = "sha256:000000000000000000000000000000000000000000000000000000000000000f";
/// What ran when that host died, and what its engine called it.
const RAN: [(&str, &str); 4] = [
    ("checked", "00000000000a"),
    ("ready", "000000000002"),
    ("restarted", "000000000034"),
    ("stopping", "000000000008"),
];
const PROGRAMS: [&str; 11] = [
    "building",
    "checked",
    "created",
    "failed",
    "ready",
    "removing",
    "restarted",
    "retrying",
    "starting",
    "stopped",
    "stopping",
];

fn id(name: &str) -> ProgramId {
    ProgramId::parse(name).unwrap()
}

/// Lays a data folder as that host left it.
fn lay(data: &Path) {
    let storage = Storage::open(data).unwrap();
    for name in PROGRAMS {
        storage.ensure_folders(&id(name)).unwrap();
        let source = data.join("programs").join(name).join("src").join(BUILD);
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("Dockerfile"), "FROM scratch\n").unwrap();
    }
    let path = data.join(JOURNAL_FILE);
    // Today's tables, with that host's rows.
    drop(Journal::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute_batch(ROWS)
        .unwrap();
}

/// An engine in which what ran still runs.
fn engine() -> Arc<FakeEngine> {
    let engine = FakeEngine::default();
    for (name, container) in RAN {
        let instance = InstanceId {
            program: id(name),
            number: InstanceNumber::UNNUMBERED,
        };
        engine.plant(instance, ContainerId::parse(container).unwrap());
    }
    let (build, image) = (BuildId::parse(BUILD), ImageId::parse(STARTING));
    engine.plant_image(id("starting"), build.unwrap(), image.unwrap());
    Arc::new(engine)
}

async fn start_host(data: &Path, engine: &Arc<FakeEngine>) -> TestHost {
    TestHost::start(Setup::new(data, engine).unwrap())
        .await
        .unwrap()
}

/// The program once nothing is under way in it; `None` once it is removed.
async fn settled(host: &TestHost, name: &str) -> Option<Program> {
    let id = id(name);
    let settled = tokio::time::timeout(Duration::from_secs(30), host.settled(&id)).await;
    settled.expect("it settles")
}

async fn state(host: &TestHost, name: &str) -> &'static str {
    settled(host, name)
        .await
        .map_or("removed", |it| it.state.name())
}

#[tokio::test]
async fn every_program_of_an_older_journal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (data, engine) = (folder.path().join("data"), engine());
    lay(&data);
    let host = start_host(&data, &engine).await;

    // What ran is not disturbed, and has no number.
    for (name, container) in &RAN[..3] {
        let program = settled(&host, name).await.unwrap();
        assert_eq!(program.state.name(), "ready", "{name}");
        let running = engine.running().get(&id(name)).unwrap().to_string();
        assert_eq!(running, *container);
        let instance = program.ready_instance().unwrap();
        assert_eq!(instance.number, InstanceNumber::UNNUMBERED);
        assert_eq!(engine.starts(&id(name)), 0, "{name} was not started again");
    }
    // What was under way comes to its end.
    for (name, expected) in [
        ("building", "ready"),
        ("starting", "ready"),
        ("stopping", "stopped"),
        ("stopped", "stopped"),
        ("created", "created"),
        ("failed", "error"),
        ("removing", "removed"),
    ] {
        let program = settled(&host, name).await;
        let state = program.as_ref().map_or("removed", |it| it.state.name());
        assert_eq!(state, expected, "{name}: {program:?}");
    }
    // Its next start has the first number.
    for name in ["ready", "created", "stopped", "failed"] {
        let path = format!("/programs/{name}/restart?wait=30s");
        let (status, answer) = host.ask("POST", &path, b"").await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let program = settled(&host, name).await.unwrap();
        let number = program.ready_instance().unwrap().number;
        assert_eq!(number, InstanceNumber(1), "{name}");
    }
    host.shut_down();

    // And all of it is there after one more start of a host.
    let host = start_host(&data, &engine).await;
    for name in ["ready", "checked", "restarted", "building", "created"] {
        assert_eq!(state(&host, name).await, "ready", "{name}");
    }
    let mut programs: Vec<_> = engine
        .instances()
        .into_iter()
        .map(|it| it.program)
        .collect();
    let all = programs.len();
    programs.dedup();
    assert_eq!(programs.len(), all, "none runs twice");
    host.shut_down();
}

#[tokio::test]
async fn what_no_program_accounts_for_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, engine) = (folder.path().join("data"), engine());
    lay(&data);
    // As after the restore of an older backup: they were started since.
    let later = |name: &str, container: &str| {
        let instance = InstanceId {
            program: id(name),
            number: InstanceNumber(9),
        };
        engine.plant(instance, ContainerId::parse(container).unwrap());
    };
    later("ready", "0123456789ab");
    later("stopped", "0123456789ac");
    let host = start_host(&data, &engine).await;
    assert_eq!(state(&host, "ready").await, "ready");
    assert!(engine.instances().iter().all(|it| it.number.0 != 9));
    assert_eq!(
        engine.running().get(&id("ready")).unwrap().as_str(),
        RAN[1].1
    );
    host.shut_down();
}
