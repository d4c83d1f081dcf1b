//! Starts are anybody's to ask for, and cheap to ask about.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::testkit::{FakeEngine, Operation, OperationOutcome, Setup, TestHost};

/// A host in simulated time over that engine, whose programs have no network.
async fn host(data: &Path, engine: &Arc<FakeEngine>) -> TestHost {
    let setup = Setup::new(data, engine).unwrap().reached_by_socket();
    TestHost::start(setup.simulated(7)).await.unwrap()
}

async fn asked(host: &TestHost, token: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (status, answer) = host
        .ask_as(token, None, "POST", path, body.as_bytes())
        .await;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    assert!(status < 300, "{path}: {status} {answer}");
    answer
}

#[tokio::test(start_paused = true)]
async fn starts_that_hang_hold_up_their_owner_only() {
    let data = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::scripted(|operation| {
        let hangs = matches!(operation, Operation::Start(of, ..) if of.program.as_str().starts_with("slow"));
        OperationOutcome {
            before: Duration::from_secs(if hangs { 100 } else { 0 }),
            ..OperationOutcome::default()
        }
    }));
    let host = host(data.path(), &engine).await;
    let admin = host.token().to_owned();
    for number in 0..10 {
        let name = format!("slow{number}");
        asked(&host, &admin, "/programs", &program(&name)).await;
        let start = format!("/programs/{name}/start");
        asked(&host, &admin, &start, &Value::Null).await;
    }
    asked(&host, &admin, "/users", &json!({ "user_id": "bob" })).await;
    let wish = json!({ "user_id": "bob", "scope": "operate" });
    let token = asked(&host, &admin, "/tokens", &wish).await;
    let bob = token["secret"].as_str().unwrap();
    asked(&host, bob, "/programs", &program("quick")).await;
    // Until the slow ones have what is theirs.
    for _ in 0..10_000 {
        if engine.under_way().len() >= 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let quick = asked(&host, bob, "/programs/quick/start?wait=30m", &Value::Null).await;
    assert_eq!(quick["state"], "Ready");
    let starting = engine.under_way();
    assert_eq!(starting.len(), 2, "{starting:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{starting:?}");
    host.shut_down();
}

/// A measure that holds a place would keep it, however slow, from who could start.
#[tokio::test(start_paused = true)]
async fn a_state_is_measured_before_a_turn_to_start() {
    let data = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::scripted(|operation| {
        let hangs = matches!(operation, Operation::Start(..));
        OperationOutcome {
            before: Duration::from_secs(if hangs { 100 } else { 0 }),
            ..OperationOutcome::default()
        }
    }));
    let host = host(data.path(), &engine).await;
    let admin = host.token().to_owned();
    for name in ["slow0", "slow1"] {
        asked(&host, &admin, "/programs", &program(name)).await;
        let start = format!("/programs/{name}/start");
        asked(&host, &admin, &start, &Value::Null).await;
    }
    let mut large = program("large");
    large["resources"] = json!({ "state": "1MiB" });
    asked(&host, &admin, "/programs", &large).await;
    let state = data.path().join("programs/large/state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("much"), vec![1; 3 << 20]).unwrap();
    for _ in 0..10_000 {
        if engine.under_way().len() >= 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let start = "/programs/large/start?wait=30m";
    let (_, ended) = host.ask("POST", start, b"").await;
    let ended: Value = serde_json::from_slice(&ended).unwrap();
    assert_eq!(ended["cause"]["code"], "state_too_large", "{ended}");
    let starting = engine.under_way();
    assert_eq!(starting.len(), 2, "{starting:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{starting:?}");
    host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_long_in_coming_asks_seldom() {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    let data = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::scripted(|operation| {
        if matches!(operation, Operation::Observe(_) | Operation::List) {
            LOOKS.fetch_add(1, Ordering::Relaxed);
        }
        OperationOutcome::default()
    }));
    let host = host(data.path(), &engine).await;
    let admin = host.token().to_owned();
    let mut silent = program("silent");
    silent["readiness"] = json!({ "kind": "tcp", "port": 8080 });
    silent["timeouts"] = json!({ "start": "60s" });
    silent["restart"] = json!("never");
    asked(&host, &admin, "/programs", &silent).await;
    let before = LOOKS.load(Ordering::Relaxed);
    let start = "/programs/silent/start?wait=5m";
    let ended = host.ask("POST", start, b"").await;
    let ended: Value = serde_json::from_slice(&ended.1).unwrap();
    assert_eq!(ended["state"], "Error", "{ended}");
    let looks = LOOKS.load(Ordering::Relaxed) - before;
    assert!((60..=80).contains(&looks), "{looks} looks in a minute");
    host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readings_at_once_ask_the_engine_once() {
    static LISTS: AtomicUsize = AtomicUsize::new(0);
    let data = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::scripted(|operation| {
        let reads = matches!(operation, Operation::List);
        LISTS.fetch_add(usize::from(reads), Ordering::Relaxed);
        OperationOutcome {
            before: Duration::from_millis(20),
            ..OperationOutcome::default()
        }
    }));
    let host = host(data.path(), &engine).await;
    let admin = host.token().to_owned();
    asked(&host, &admin, "/programs", &program("a")).await;
    asked(&host, &admin, "/programs/a/start?wait=1m", &Value::Null).await;
    let before = LISTS.load(Ordering::Relaxed);
    let readings = join_all((0..100).map(|_| host.ask("GET", "/programs/a/stats", b"")));
    let readings = readings.await;
    assert!(readings.iter().all(|(status, _)| *status == 200));
    assert_eq!(LISTS.load(Ordering::Relaxed) - before, 1);
    // Whoever asks for everybody's finds that one too.
    assert_eq!(host.ask("GET", "/metrics", b"").await.0, 200);
    assert_eq!(LISTS.load(Ordering::Relaxed) - before, 1);
    host.shut_down();
}
