//! What a host takes while its disk is full.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hersh_program::ProgramId;
use serde_json::{Value, json};

use crate::testkit::{CommitPoint, FakeEngine, Setup, TestHost, WriteFate};

/// A host with two programs that run, whose journal refuses while it is told to.
async fn start_host(data: &Path) -> (Arc<FakeEngine>, TestHost) {
    let engine = Arc::new(FakeEngine::default());
    let host = host(data, &engine, &Arc::default()).await;
    add_two(&host).await;
    (engine, host)
}

async fn host(data: &Path, engine: &Arc<FakeEngine>, refuses: &Arc<AtomicBool>) -> TestHost {
    let refuses = Arc::clone(refuses);
    let setup = Setup::new(data, engine).unwrap().simulated(7);
    let setup = setup.with_journal_probe(move |point| match point {
        CommitPoint::Before if refuses.load(Ordering::Relaxed) => WriteFate::Refuse,
        CommitPoint::Before | CommitPoint::After => WriteFate::Proceed,
    });
    TestHost::start(setup).await.unwrap()
}

async fn add_two(host: &TestHost) {
    for name in ["a", "b"] {
        let body = super::program(name).to_string();
        assert_eq!(host.ask("POST", "/programs", body.as_bytes()).await.0, 201);
        let start = format!("/programs/{name}/start?wait=30s");
        assert_eq!(host.ask("POST", &start, b"").await.0, 200);
    }
}

fn keep(data: &Path, name: &str, mebibytes: usize) {
    let file = data.join(format!("programs/{name}/state/kept"));
    std::fs::write(file, vec![1; mebibytes << 20]).unwrap();
}

/// Waits until the program is at rest; its state and cause.
async fn settled(host: &TestHost, name: &str) -> (Value, Value) {
    let path = format!("/programs/{name}");
    let is_at_rest = |view: &Value| view["state"] == "Error" || view["state"] == "Stopped";
    let end = async {
        loop {
            let mut view = ask(host, "GET", &path, &Value::Null).await.1;
            if is_at_rest(&view) {
                break (view["state"].take(), view["cause"]["code"].take());
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), end)
        .await
        .unwrap()
}

async fn ask(host: &TestHost, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = body.to_string();
    let body: &[u8] = if body.is_null() { b"" } else { text.as_bytes() };
    let (status, answer) = host.ask(method, path, body).await;
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

#[tokio::test]
async fn a_full_disk_takes_what_ends_something_and_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, host) = start_host(folder.path()).await;
    let token = json!({ "scope": "read", "label": "one" });
    let (status, made) = ask(&host, "POST", "/tokens", &token).await;
    assert_eq!(status, 201, "{made}");
    let rows = ask(&host, "GET", "/audit", &Value::Null).await.1;
    assert_eq!(ask(&host, "GET", "/readyz", &Value::Null).await.0, 200);

    host.set_disk_full(true);
    let (status, problem) = ask(&host, "GET", "/readyz", &Value::Null).await;
    assert_eq!((status, &problem["code"]), (507, &json!("storage_full")));
    let said = problem["detail"].as_str().unwrap();
    assert!(said.contains("must stay free"), "{said}");
    let path = folder.path().to_str().unwrap();
    assert!(!said.contains(path), "anybody may ask: {said}");
    for (path, body) in [
        ("/programs", super::program("c")),
        ("/programs/a/restart", Value::Null),
        ("/programs/a/start", Value::Null),
        ("/tokens", token),
        ("/users", json!({ "user_id": "eve", "role": "member" })),
    ] {
        let (status, problem) = ask(&host, "POST", path, &body).await;
        assert_eq!((status, &problem["code"]), (507, &json!("storage_full")));
    }
    let later = ask(&host, "GET", "/audit", &Value::Null).await.1;
    assert_eq!(later, rows, "nothing was written about what was refused");

    let stop = "/programs/a/stop?wait=30s";
    assert_eq!(ask(&host, "POST", stop, &Value::Null).await.0, 200);
    let remove = "/programs/b?wait=30s";
    assert_eq!(ask(&host, "DELETE", remove, &Value::Null).await.0, 204);
    let token = format!("/tokens/{}", made["token"]["token_id"].as_str().unwrap());
    assert_eq!(ask(&host, "DELETE", &token, &Value::Null).await.0, 204);
    assert!(engine.running().is_empty());

    host.set_disk_full(false);
    let start = "/programs/a/start?wait=30s";
    assert_eq!(ask(&host, "POST", start, &Value::Null).await.0, 200);
    assert_eq!(ask(&host, "GET", "/readyz", &Value::Null).await.0, 200);
    host.shut_down();
}

#[tokio::test]
async fn who_fills_the_disk_is_ended_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, host) = start_host(folder.path()).await;
    let b = ProgramId::parse("b").unwrap();
    host.look_at_state().await;
    keep(folder.path(), "a", 40);
    keep(folder.path(), "b", 1);
    host.set_disk_full(true);
    host.look_at_state().await;
    let (state, cause) = settled(&host, "a").await;
    assert_eq!((state, cause), (json!("Error"), json!("disk_filled")));
    // The disk stays full until somebody frees space; who writes little goes on.
    for kept in [2, 3] {
        keep(folder.path(), "b", kept);
        host.look_at_state().await;
    }
    let view = ask(&host, "GET", "/programs/b", &Value::Null).await.1;
    assert_eq!(view["state"], "Ready");
    assert_eq!(engine.running().into_keys().collect::<Vec<_>>(), [b]);
    host.shut_down();
}

#[tokio::test]
async fn who_keeps_too_much_ends_though_no_record_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let refuses = Arc::default();
    let first = host(folder.path(), &engine, &refuses).await;
    let mut body = super::program("a");
    body["resources"] = json!({ "state": "1MiB" });
    assert_eq!(ask(&first, "POST", "/programs", &body).await.0, 201);
    let start = "/programs/a/start?wait=30s";
    assert_eq!(ask(&first, "POST", start, &Value::Null).await.0, 200);
    keep(folder.path(), "a", 2);
    refuses.store(true, Ordering::Relaxed);
    first.look_at_state().await;
    let ended = async {
        while !engine.running().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("it is ended regardless");
    let ready = ask(&first, "GET", "/readyz", &Value::Null).await;
    assert_eq!(ready.0, 507, "{}", ready.1);
    // The host dies before the end is in the journal; the next one says why it ended.
    first.shut_down();
    refuses.store(false, Ordering::Relaxed);
    let second = host(folder.path(), &engine, &refuses).await;
    let (state, cause) = settled(&second, "a").await;
    let expected = (json!("Error"), json!("state_quota_exceeded"));
    assert_eq!((state, cause), expected);
    second.shut_down();
}

/// Nothing of the source is stored for an answer that is known already.
#[tokio::test]
async fn a_repeated_create_stores_nothing_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let (_engine, host) = start_host(folder.path()).await;
    let create = async |key: &str, body: &Value| {
        let body = body.to_string();
        let (status, answer) = host
            .ask_as(
                host.token(),
                Some(key),
                "POST",
                "/programs",
                body.as_bytes(),
            )
            .await;
        (status, serde_json::from_slice::<Value>(&answer).unwrap())
    };
    let asked = super::program("once");
    let (status, first) = create("key", &asked).await;
    assert_eq!(status, 201, "{first}");
    // Where nothing can be stored.
    std::fs::remove_dir(folder.path().join("staging")).unwrap();
    assert_eq!(create("key", &asked).await, (201, first));
    let (status, refused) = create("key", &super::program("other")).await;
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    assert_eq!(create("new", &asked).await.0, 500);
}
