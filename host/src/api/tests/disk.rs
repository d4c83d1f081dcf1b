//! What a host takes while its disk is full.

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};

use crate::testkit::{FakeEngine, Setup, TestHost};

async fn bring_up(data: &Path) -> (Arc<FakeEngine>, TestHost) {
    let engine = Arc::new(FakeEngine::default());
    let setup = Setup::new(data, &engine).unwrap().simulated(7);
    let host = TestHost::bring_up(setup).await.unwrap();
    for name in ["a", "b"] {
        let body = super::program(name).to_string();
        assert_eq!(host.ask("POST", "/programs", body.as_bytes()).await.0, 201);
        let start = format!("/programs/{name}/start?wait=30s");
        assert_eq!(host.ask("POST", &start, b"").await.0, 200);
    }
    (engine, host)
}

async fn ask(host: &TestHost, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = body.to_string();
    let body = if body.is_null() { b"" } else { text.as_bytes() };
    let (status, answer) = host.ask(method, path, body).await;
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

#[tokio::test]
async fn a_full_disk_takes_what_ends_something_and_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, host) = bring_up(folder.path()).await;
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
    host.put_down();
}
