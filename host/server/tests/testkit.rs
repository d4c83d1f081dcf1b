//! What the testkit promises to those who build on it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hersh_host::testkit::{
    CommitPoint, FakeEngine, Fate, Operation, OperationOutcome, Setup, TestHost, WriteFate,
    serve_engine,
};
use hersh_program::ProgramId;
use serde_json::{Value, json};

fn body(name: &str) -> Vec<u8> {
    let program = json!({
        "name": name,
        "dockerfile": "FROM scratch\n",
        "readiness": { "kind": "none" },
    });
    program.to_string().into_bytes()
}

async fn events(host: &TestHost, name: &str) -> Value {
    let (status, events) = host
        .ask("GET", &format!("/programs/{name}/events"), b"")
        .await;
    assert_eq!(status, 200);
    let mut page: Value = serde_json::from_slice(&events).unwrap();
    page["events"].take()
}

/// A life with failures, retries, and an exit, in simulated time: what the journal holds of it.
async fn life(data: &Path, seed: u64) -> String {
    let fails = ProgramId::parse("fails").unwrap();
    let bad = fails.clone();
    let engine = FakeEngine::scripted(move |operation| OperationOutcome {
        before: Duration::from_millis(30),
        fate: match matches!(operation, Operation::Start(instance, ..) if instance.program == bad) {
            true => Fate::Failed("no".into()),
            false => Fate::Done,
        },
        after: Duration::from_millis(5),
        ..OperationOutcome::default()
    });
    let engine = Arc::new(engine);
    let setup = Setup::new(data, &engine).unwrap().simulated(seed);
    let setup = setup.with_journal_probe(|_| WriteFate::Linger(Duration::from_millis(3)));
    let host = TestHost::start(setup).await.unwrap();
    for name in ["fails", "works"] {
        assert_eq!(host.ask("POST", "/programs", &body(name)).await.0, 201);
        let start = format!("/programs/{name}/start");
        assert_eq!(host.ask("POST", &start, b"").await.0, 202);
    }
    let works = ProgramId::parse("works").unwrap();
    assert_eq!(host.settled(&works).await.unwrap().state.name(), "ready");
    assert!(engine.end(&works, 1).await);
    // An hour of patience takes no time here.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    loop {
        let program = host.settled(&fails).await.unwrap();
        if program.attempts > 6 {
            break;
        }
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let told = [events(&host, "fails").await, events(&host, "works").await];
    host.shut_down();
    json!(told).to_string()
}

#[test]
fn one_seed_gives_one_trace() {
    let trace = |seed| {
        let data = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(life(data.path(), seed))
    };
    let first = trace(7);
    assert_eq!(first, trace(7));
    assert_ne!(first, trace(8), "another seed waits differently");
    assert!(first.contains("retry_due") && first.contains("runtime_exited"));
}

#[tokio::test]
async fn an_engine_behind_a_socket_outlives_its_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let engine = Arc::new(FakeEngine::default());
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(serve_engine(Arc::clone(&engine), listener));
    let data = folder.path().join("data");
    let start_host = || TestHost::start(Setup::remote(&data, socket.clone()).unwrap());
    let a = ProgramId::parse("a").unwrap();

    let host = start_host().await.unwrap();
    assert_eq!(host.ask("POST", "/programs", &body("a")).await.0, 201);
    let (status, view) = host.ask("POST", "/programs/a/start?wait=30s", b"").await;
    let view: Value = serde_json::from_slice(&view).unwrap();
    assert_eq!((status, &view["state"]), (200, &json!("Ready")));
    host.shut_down();

    let host = start_host().await.unwrap();
    let container = engine.running().get(&a).unwrap().to_string();
    assert_eq!(view["container_id"], container);
    assert_eq!(engine.starts(&a), 1);
    assert!(engine.end(&a, 3).await);
    let (status, _) = host.ask("DELETE", "/programs/a?wait=30s", b"").await;
    assert_eq!(status, 204);
    assert!(engine.running().is_empty());
    host.shut_down();
    serving.abort();
}

#[tokio::test]
async fn a_journal_that_refuses_or_dies_never_says_that_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let fate = Arc::new(std::sync::Mutex::new(WriteFate::Proceed));
    let asked = Arc::clone(&fate);
    let spared = Arc::new(AtomicU32::new(0));
    let left = Arc::clone(&spared);
    let spare = move || {
        let less = |left: u32| left.checked_sub(1);
        left.try_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    };
    let setup = Setup::new(folder.path(), &engine).unwrap();
    let setup = setup.with_journal_probe(move |point| match point {
        CommitPoint::Before if spare() => WriteFate::Proceed,
        CommitPoint::Before => *asked.lock().unwrap(),
        CommitPoint::After => WriteFate::Proceed,
    });
    let host = TestHost::start(setup).await.unwrap();
    *fate.lock().unwrap() = WriteFate::Refuse;
    assert_eq!(host.ask("POST", "/programs", &body("a")).await.0, 507);
    *fate.lock().unwrap() = WriteFate::Proceed;
    assert_eq!(host.ask("POST", "/programs", &body("a")).await.0, 201);
    *fate.lock().unwrap() = WriteFate::Refuse;
    assert_eq!(host.ask("POST", "/programs/a/start", b"").await.0, 507);
    // The audit log's row is written, the command's own record is not.
    spared.store(1, Ordering::Relaxed);
    let (status, problem) = host.ask("POST", "/programs/a/start", b"").await;
    let problem: Value = serde_json::from_slice(&problem).unwrap();
    assert_eq!((status, &problem["code"]), (507, &json!("storage_full")));
    *fate.lock().unwrap() = WriteFate::Die;
    let never = host.ask("POST", "/programs/a/start", b"");
    let waited = tokio::time::timeout(Duration::from_millis(100), never).await;
    assert!(waited.is_err(), "a dead host does not answer");
    *fate.lock().unwrap() = WriteFate::Proceed;
    let never = host.ask("POST", "/programs/a/stop", b"");
    let waited = tokio::time::timeout(Duration::from_millis(100), never).await;
    assert!(waited.is_err(), "the dead stay dead");
    host.shut_down();

    let again = TestHost::start(Setup::new(folder.path(), &engine).unwrap());
    let again = again.await.unwrap();
    assert_eq!(events(&again, "a").await, json!([]), "nothing was written");
    again.shut_down();
}
