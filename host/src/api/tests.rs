//! The API over a host with real storage and journal and a runtime in memory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use hersh_program::ProgramId;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    auth::Auth,
    journal::Journal,
    runtime::fake::FakeRuntime,
    storage::Storage,
    supervise::{self, Workers},
};

struct Fixture {
    folder: tempfile::TempDir,
    runtime: Arc<FakeRuntime>,
    host: Host,
    workers: Workers,
    token: String,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let runtime = Arc::new(FakeRuntime::new(storage.clone()));
        let (host, workers, token) = bring_up(storage, Arc::clone(&runtime)).await;
        Self {
            folder,
            runtime,
            host,
            workers,
            token,
        }
    }

    /// Another host process on the same data and the same engine.
    async fn restart(&mut self) {
        supervise::put_down(&self.host, &self.workers);
        let storage = Storage::open(&self.data()).unwrap();
        (self.host, self.workers, self.token) = bring_up(storage, Arc::clone(&self.runtime)).await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = router(self.host.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        self.send(self.request(method, path).body(Body::empty()).unwrap())
            .await
    }

    async fn json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Creates a program and starts it.
    async fn ready(&self, name: &str) {
        let (status, body) = self.json("/programs", &program(name)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let (status, body) = self
            .ask(Method::POST, &format!("/programs/{name}/start?wait=30s"))
            .await;
        assert_eq!(
            (status, &body["state"]),
            (StatusCode::OK, &json!("Ready")),
            "{body}"
        );
    }

    /// Waits until the program's state is `expected`.
    async fn until(&self, name: &str, expected: &str) {
        let entry = self.host.get(&ProgramId::parse(name).unwrap()).unwrap();
        let mut states = entry.supervisor().subscribe();
        let reached = async {
            while entry.state_name() != expected {
                states.changed().await.expect("the program lives");
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .expect(expected);
    }
}

async fn bring_up(storage: Storage, runtime: Arc<FakeRuntime>) -> (Host, Workers, String) {
    let journal = Journal::open(&storage.data_dir().join("journal.db")).unwrap();
    let (auth, _) = Auth::bootstrap(&journal, storage.data_dir()).await.unwrap();
    let token = std::fs::read_to_string(storage.data_dir().join("admin-token")).unwrap();
    let (host, workers) = supervise::bring_up(storage, journal, runtime, auth)
        .await
        .unwrap();
    (host, workers, token.trim().to_string())
}

fn program(name: &str) -> Value {
    json!({
        "name": name,
        "dockerfile": "FROM scratch\n",
        "src_files": { "a.txt": name },
        "env": { "SECRET": "canary-value" },
        "readiness": { "kind": "none" },
    })
}

#[tokio::test]
async fn a_program_is_created_started_shown_and_removed() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let (_, list) = host.ask(Method::GET, "/programs").await;
    assert_eq!(list["programs"][0]["program_id"], "a");
    let (status, receipt) = host.ask(Method::GET, "/programs/a/receipt").await;
    assert_eq!(
        (status, &receipt["kernel"]),
        (StatusCode::OK, &json!("gVisor"))
    );
    let (_, events) = host.ask(Method::GET, "/programs/a/events").await;
    let names: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"]["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "user_start_requested",
            "folders_ensured",
            "build_finished",
            "runtime_started"
        ]
    );
    let (_, page) = host
        .ask(Method::GET, "/programs/a/events?after=1&limit=2")
        .await;
    assert_eq!(page.as_array().unwrap().len(), 2);

    let (status, view) = host.ask(Method::POST, "/programs/a/start").await;
    assert_eq!(
        (status, &view["state"]),
        (StatusCode::OK, &json!("Ready")),
        "already"
    );
    let before = view["container_id"].clone();
    let (_, view) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(view["state"], "Ready");
    assert_ne!(view["container_id"], before, "a restart restarts");
    assert_eq!(
        host.ask(Method::DELETE, "/programs/a?wait=30s").await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        host.ask(Method::GET, "/programs/a").await.0,
        StatusCode::NOT_FOUND
    );
    assert!(host.runtime.running().is_empty());
    assert!(!host.data().join("programs/a").exists());
    host.ready("a").await;
}

#[tokio::test]
async fn no_route_says_anything_without_a_token() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let routes = [
        (Method::GET, "/programs"),
        (Method::POST, "/programs"),
        (Method::GET, "/programs/a"),
        (Method::DELETE, "/programs/a"),
        (Method::PUT, "/programs/a/source"),
        (Method::POST, "/programs/a/start"),
        (Method::POST, "/programs/a/stop"),
        (Method::POST, "/programs/a/restart"),
        (Method::GET, "/programs/a/logs?follow=true"),
        (Method::GET, "/programs/a/builds/latest/logs"),
        (Method::GET, "/programs/a/events"),
        (Method::GET, "/programs/a/receipt"),
        (Method::GET, "/programs/a/watcher"),
        (Method::POST, "/programs/a/watcher/message"),
        (Method::GET, "/programs/a/proxy/watcher/status"),
        (Method::GET, "/nothing/here"),
        (Method::PATCH, "/programs"),
    ];
    for (method, path) in routes {
        for token in [
            None,
            Some("Bearer wrong".to_string()),
            Some(format!("Basic {}", host.token)),
        ] {
            let mut request = Request::builder().method(method.clone()).uri(path);
            if let Some(token) = &token {
                request = request.header("authorization", token);
            }
            let (status, body) = host.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                status,
                StatusCode::UNAUTHORIZED,
                "{method} {path} {token:?}"
            );
            assert_eq!(body["code"], "unauthorized", "{method} {path}");
        }
    }
    let twice = host
        .request(Method::GET, "/programs")
        .header("authorization", "Bearer other");
    assert_eq!(
        host.send(twice.body(Body::empty()).unwrap()).await.0,
        StatusCode::UNAUTHORIZED
    );
    for open in ["/healthz", "/readyz"] {
        let request = Request::get(open).body(Body::empty()).unwrap();
        assert_eq!(host.send(request).await.0, StatusCode::OK, "{open}");
    }
}

/// Request, status, code and what the detail must name.
#[rustfmt::skip]
const BAD_REQUESTS: [(Method, &str, u16, &str, &str); 13] = [
    (Method::GET, "/programs/ghost", 404, "not_found", "ghost"),
    (Method::GET, "/programs/UPPER", 404, "not_found", "UPPER"),
    (Method::GET, "/programs/a%2fb", 404, "not_found", "a/b"),
    (Method::GET, "/nothing", 404, "not_found", "/nothing"),
    (Method::PATCH, "/programs/a", 405, "method_not_allowed", "PATCH"),
    (Method::POST, "/programs/a/start?wait=soon", 400, "bad_request", "soon"),
    (Method::POST, "/programs/a/start?wait=2h", 400, "bad_request", "1h"),
    (Method::POST, "/programs/a/start?wiat=1s", 400, "bad_request", "wiat"),
    (Method::GET, "/programs/a/logs?tail=99999", 400, "bad_request", "10000"),
    (Method::GET, "/programs/a/events?limit=0", 400, "bad_request", "1000"),
    (Method::GET, "/programs/a/builds/../logs", 404, "not_found", "build"),
    (Method::POST, "/programs", 400, "bad_request", "application/json"),
    (Method::GET, "/programs/a/watcher/%2e%2e/x", 404, "not_found", "/watcher/"),
];

#[tokio::test]
async fn a_bad_request_has_a_stable_code_and_says_what_is_wrong() {
    let host = Fixture::new().await;
    host.ready("a").await;
    for (method, path, status, code, said) in BAD_REQUESTS {
        let (found, body) = host.ask(method.clone(), path).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {body}");
        assert_eq!(body["code"], code, "{method} {path}: {body}");
        assert!(
            body["detail"].as_str().unwrap().contains(said),
            "{method} {path}: {body}"
        );
    }
}

#[tokio::test]
async fn a_bad_program_is_refused_whole_with_what_is_wrong_about_it() {
    let host = Fixture::new().await;
    let scratch = "FROM scratch";
    for (body, code, said) in [
        (json!({ "dockerfil": "x" }), "bad_request", "dockerfil"),
        (
            json!({ "dockerfile": scratch, "name": "Not Good" }),
            "bad_manifest",
            "Not Good",
        ),
        (
            json!({ "dockerfile": scratch, "resources": { "pids": 1 } }),
            "bad_manifest",
            "resources.pids",
        ),
        (
            json!({ "src_files": { "x": "y" } }),
            "bad_source",
            "Dockerfile",
        ),
        (
            json!({ "dockerfile": scratch, "src_files": { "../x": "y" } }),
            "bad_source",
            "../x",
        ),
    ] {
        let (status, answer) = host.json("/programs", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["code"], code, "{answer}");
        assert!(
            answer["detail"].as_str().unwrap().contains(said),
            "{answer}"
        );
    }
    assert!(host.host.list().is_empty(), "nothing half-made stays");
}

#[tokio::test]
async fn of_many_creates_of_one_name_one_succeeds() {
    let host = Fixture::new().await;
    let body = program("same");
    let creating = (0..16).map(|_| host.json("/programs", &body));
    let statuses: Vec<u16> = futures_util::future::join_all(creating)
        .await
        .iter()
        .map(|(status, _)| status.as_u16())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| matches!(status, 201 | 409)),
        "{statuses:?}"
    );
    let (status, body) = host
        .ask(Method::POST, "/programs/same/start?wait=30s")
        .await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("Ready")));
}

#[tokio::test]
async fn values_of_the_environment_never_leave_the_host() {
    let host = Fixture::new().await;
    host.ready("a").await;
    for path in [
        "/programs",
        "/programs/a",
        "/programs/a/events",
        "/programs/a/receipt",
    ] {
        let (_, body) = host.ask(Method::GET, path).await;
        assert!(!body.to_string().contains("canary-value"), "{path}: {body}");
    }
}

#[tokio::test]
async fn an_engine_that_is_down_is_an_error_with_a_retry_and_readyz_says_so() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    host.runtime.set_down(true);
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let (status, body) = host.send(request).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (503, &json!("engine_unavailable"))
    );
    let (_, view) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(
        (&view["state"], &view["cause"]["code"]),
        (&json!("Error"), &json!("runtime_unavailable"))
    );
    host.runtime.set_down(false);
    let (_, view) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(view["state"], "Ready");
}

#[tokio::test]
async fn a_program_that_dies_is_started_again_by_its_policy() {
    let host = Fixture::new().await;
    host.ready("a").await;
    host.runtime.end(&ProgramId::parse("a").unwrap(), 1).await;
    host.until("a", "Error").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["cause"]["logs"], json!(["last words"]));
    assert!(view["retry"]["due_at_ms"].is_u64());
    host.until("a", "Ready").await;
}

#[tokio::test]
async fn another_start_of_the_host_adopts_what_runs_and_removes_what_nobody_owns() {
    let mut host = Fixture::new().await;
    for name in ["runs", "dies", "stopped"] {
        host.ready(name).await;
    }
    host.ask(Method::POST, "/programs/stopped/stop?wait=30s")
        .await;
    let (_, before) = host.ask(Method::GET, "/programs/runs").await;
    let orphan = ProgramId::parse("orphan").unwrap();
    supervise::put_down(&host.host, &host.workers);
    host.runtime.forget_events();
    host.runtime
        .end(&ProgramId::parse("dies").unwrap(), 1)
        .await;
    host.runtime.plant(&orphan);
    std::fs::create_dir_all(host.data().join("programs/left-behind/src")).unwrap();

    host.restart().await;
    let (_, after) = host.ask(Method::GET, "/programs/runs").await;
    assert_eq!(
        (&after["state"], &after["container_id"]),
        (&json!("Ready"), &before["container_id"])
    );
    assert_eq!(
        host.ask(Method::GET, "/programs/stopped").await.1["state"],
        "Stopped"
    );
    host.until("dies", "Error").await;
    host.until("dies", "Ready").await;
    assert!(!host.runtime.running().contains(&orphan));
    assert!(!host.data().join("programs/left-behind").exists());
    assert_eq!(host.host.list().len(), 3);
}

#[tokio::test]
async fn replaced_source_goes_and_the_new_one_counts_from_the_next_start() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let first = host.ask(Method::GET, "/programs/a").await.1["build_id"].clone();
    for text in ["one", "two"] {
        let body = json!({ "dockerfile": "FROM scratch\n", "src_files": { "a.txt": text }, "readiness": { "kind": "none" } });
        let request = host
            .request(Method::PUT, "/programs/a/source")
            .header("content-type", "application/json");
        let (status, body) = host
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_ne!(body["build_id"], first);
        assert_eq!(body["state"], "Ready", "what runs goes on");
    }
    let trees = std::fs::read_dir(host.data().join("programs/a/src"))
        .unwrap()
        .count();
    assert_eq!(trees, 1, "only the newest tree stays");
    let (_, view) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(view["state"], "Ready", "{view}");
}

#[tokio::test]
async fn a_program_that_keeps_too_much_is_ended() {
    let host = Fixture::new().await;
    let mut body = program("a");
    body["resources"] = json!({ "state": "1MiB" });
    host.json("/programs", &body).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let state = host.data().join("programs/a/state");
    std::fs::write(state.join("some"), vec![1; 512 << 10]).unwrap();
    crate::quota::check(&host.host).await;
    assert_eq!(
        host.ask(Method::GET, "/programs/a").await.1["state"],
        "Ready"
    );
    std::fs::write(state.join("more"), vec![1; 600 << 10]).unwrap();
    crate::quota::check(&host.host).await;
    host.until("a", "Error").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["cause"]["code"], "state_quota_exceeded");
    assert!(host.runtime.running().is_empty());
}
