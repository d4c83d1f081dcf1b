//! The API over a host with real storage and journal and a runtime in memory.

mod access;
mod accounts;
mod build_logs;
mod disk;
mod ids;
mod orphans;
mod overlap;
mod pages;
mod programs;
mod quota;
mod removal;
mod revisions;
mod revoked;
mod source;
mod starts;
mod state;
mod transfers;
mod uploads;
mod workers;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, Request, StatusCode},
};
use hersh_base::surroundings::Surroundings;
use hersh_journal::Journal;
use hersh_machine::driver::Clock;
use hersh_program::ProgramId;
use hersh_storage::Storage;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    auth,
    connections::{Client, ClientConnection, RequestHandler as _, Scheme},
    recover::{self, HostInputs},
    testkit::{FakeEngine, FakeRuntime},
    workers::Workers,
};

pub(super) struct Fixture {
    folder: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    runtime: Arc<FakeRuntime>,
    host: Host,
    workers: Workers,
    token: String,
}

impl Fixture {
    async fn new() -> Self {
        Self::over(FakeEngine::default()).await
    }

    async fn over(engine: FakeEngine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let engine = Arc::new(engine);
        let (runtime, host, workers, token) = start_host(storage, &engine).await;
        Self {
            folder,
            engine,
            runtime,
            host,
            workers,
            token,
        }
    }

    /// Another host process on the same data and the same engine.
    async fn restart(&mut self) {
        recover::shut_down(&self.host, &self.workers);
        let storage = Storage::open(&self.data()).unwrap();
        (self.runtime, self.host, self.workers, self.token) =
            start_host(storage, &self.engine).await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As a connection is served; each request comes from an address of its own unless it names one.
    async fn answer(&self, request: Request<Body>) -> axum::response::Response {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let named = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let address = named.map_or_else(
            || {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                (
                    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number),
                    1,
                )
                    .into()
            },
            |ConnectInfo(address)| *address,
        );
        let client = Client {
            address,
            scheme: Scheme::Http,
            connection: ClientConnection::default(),
        };
        let answered = Arc::new(site(self.host.clone())).answer(request, client);
        answered.await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = self.answer(request).await;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        self.request_as(&self.token, method, path)
    }

    fn request_as(&self, token: &str, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        self.ask_as(&self.token, method, path).await
    }

    async fn ask_as(&self, token: &str, method: Method, path: &str) -> (StatusCode, Value) {
        let request = self.request_as(token, method, path);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn body_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let request = self
            .request_as(token, method, path)
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    async fn json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.json_as(&self.token, path, body).await
    }

    async fn json_as(&self, token: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        self.body_as(token, Method::POST, path, body).await
    }

    async fn put_as(&self, token: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        self.body_as(token, Method::PUT, path, body).await
    }

    async fn patch(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.body_as(&self.token, Method::PATCH, path, body).await
    }

    /// Creates a program with an idempotency key.
    async fn create_once(&self, key: &str, body: &Value) -> (StatusCode, Value) {
        let request = self
            .request(Method::POST, "/programs")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Adds a member.
    async fn user(&self, id: &str) {
        let (status, body) = self.json("/users", &json!({ "user_id": id })).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    /// Makes a token: its text and its id.
    async fn token(&self, user: &str, scope: &str) -> (String, String) {
        let asked = json!({ "user_id": user, "scope": scope });
        let (status, body) = self.json("/tokens", &asked).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&body["secret"]), text(&body["token"]["token_id"]))
    }

    /// A token of the user that was valid once.
    async fn expired_token(&self, user: &str) -> String {
        let new = auth::NewToken {
            user: hersh_program::UserId::parse(user).unwrap(),
            scope: auth::Scope::Operate,
            label: String::new(),
            expires_at_ms: Some(2),
            made_by: None,
        };
        let (_, token) = self.host.accounts().add_token(new, 1).await.unwrap();
        token.reveal().to_owned()
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
        let entry = self.host.registry().get(&ProgramId::parse(name).unwrap());
        let entry = entry.unwrap();
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

async fn start_host(
    storage: Storage,
    engine: &Arc<FakeEngine>,
) -> (Arc<FakeRuntime>, Host, Workers, String) {
    let runtime = Arc::new(FakeRuntime::new(Arc::clone(engine), storage.clone()));
    let journal = Journal::open(&storage.data_dir().join("journal.db")).unwrap();
    let programs = recover::StoredPrograms::read(&journal).unwrap();
    let now_ms = Surroundings::System.now_ms();
    let (accounts, _) = auth::open(&journal, storage.data_dir(), now_ms)
        .await
        .unwrap();
    let token = std::fs::read_to_string(storage.data_dir().join("admin-token")).unwrap();
    let inputs = HostInputs {
        programs,
        output: hersh_storage::output::LogStore::new(storage.clone()),
        storage,
        journal,
        builder: Arc::<FakeRuntime>::clone(&runtime),
        runtime: Arc::<FakeRuntime>::clone(&runtime),
        accounts,
        surroundings: Surroundings::System,
        bounds: recover::Bounds::default(),
    };
    let (host, workers) = recover::start_host(inputs).await.unwrap();
    (runtime, host, workers, token.trim().to_string())
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
