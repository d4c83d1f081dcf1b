//! What a token opened ends with it, and nothing is changed by it afterwards, whatever the route.

use axum::{extract::Request as AxumRequest, middleware::Next, response::Response};
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use hersh_base::right::CHECK_INTERVAL;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::{
    api::{document, rules::Access},
    auth::{Caller, Grant, Scope, audit::Particulars},
    testkit::{Operation, OperationOutcome},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A route of the document, with its own program, user and token in the path.
struct Route {
    method: Method,
    /// As the document has it.
    path: String,
    target: String,
    changes: bool,
}

/// Every route that asks for a token; the parts of its path are those of `number`.
fn routes_asked_for() -> Vec<Route> {
    let document = document::value();
    let rules = document::rules();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let Some(Access::Token(rule)) = rules.access(path, &method) else {
                continue;
            };
            let number = found.len();
            let mut target = path.replace("{id}", &format!("p{number}"));
            for (part, value) in [
                ("{user}", format!("u{number}")),
                ("{token}", format!("token-{number}")),
                ("{build}", "latest".to_owned()),
                ("{path}", "x".to_owned()),
            ] {
                target = target.replace(part, &value);
            }
            let asks: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|parameter| match parameter["name"].as_str()? {
                    "wait" if path.ends_with("/rollback") => Some("revision=1&wait=1h"),
                    "wait" => Some("wait=1h"),
                    "follow" => Some("follow=true"),
                    _ if path.ends_with("/state/file") => Some("path=a"),
                    _ => None,
                })
                .collect();
            let mark = if asks.is_empty() { "" } else { "?" };
            found.push(Route {
                changes: rule.scope > Scope::Read,
                method,
                path: path.clone(),
                target: format!("{target}{mark}{}", asks.first().unwrap_or(&"")),
            });
        }
    }
    found
}

/// A host whose programs take an hour to start, with what the routes are about.
async fn world(routes: &[Route]) -> Fixture {
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: if matches!(operation, Operation::Start(..)) {
            Duration::from_secs(3_600)
        } else {
            Duration::ZERO
        },
        ..OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    for (number, route) in routes.iter().enumerate() {
        if route.path.contains("{id}") {
            let name = format!("p{number}");
            let (status, body) = host.json("/programs", &program(&name)).await;
            assert_eq!(status, StatusCode::CREATED, "{body}");
        }
        if route.path.contains("{user}") {
            host.user(&format!("u{number}")).await;
        }
    }
    host
}

/// A body that is sent piece by piece.
fn piecemeal() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Body) {
    let (pieces, coming) = mpsc::channel(4);
    (pieces, Body::from_stream(ReceiverStream::new(coming)))
}

/// A request that is under way, and what shows that it is.
struct Open {
    what: String,
    asked: JoinHandle<StatusCode>,
    /// Set with the head of its answer.
    has_answered: Arc<AtomicBool>,
    /// Where the rest of its body would come from; all of it is free once the beginning was taken.
    body: mpsc::Sender<Result<Bytes, std::io::Error>>,
    program: Option<Arc<crate::host::ProgramEntry>>,
}

impl Open {
    /// Asks for a route, with a body that begins and does not end.
    async fn begin(host: &Arc<Fixture>, token: &str, route: &Route) -> Self {
        let (pieces, body) = piecemeal();
        pieces.send(Ok("{".into())).await.unwrap();
        let is_look = matches!(route.method, Method::GET | Method::HEAD);
        let body = if is_look { Body::empty() } else { body };
        let request = host
            .request_as(token, route.method.clone(), &route.target)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let program = route.target.split(['/', '?']).nth(2);
        let program = program.and_then(|id| ProgramId::parse(id).ok());
        let program = program.and_then(|id| host.host.registry().get(&id));
        let has_answered = Arc::new(AtomicBool::new(false));
        let (answered, host) = (Arc::clone(&has_answered), Arc::clone(host));
        let asked = tokio::spawn(async move {
            let answer = host.answer(request).await;
            let status = answer.status();
            answered.store(true, Ordering::Relaxed);
            // Until its end, whichever that is.
            drop(to_bytes(answer.into_body(), usize::MAX).await);
            status
        });
        Self {
            what: format!("{} {}", route.method, route.target),
            asked,
            has_answered,
            body: pieces,
            program,
        }
    }

    /// Whether it has come to where it waits, or to its end.
    fn has_begun(&self) -> bool {
        let is_commanded = |entry: &Arc<crate::host::ProgramEntry>| entry.state_name() != "Created";
        self.asked.is_finished()
            || self.has_answered.load(Ordering::Relaxed)
            || self.body.capacity() == self.body.max_capacity()
            || self.program.as_ref().is_some_and(is_commanded)
    }
}

#[tokio::test]
async fn no_route_goes_on_after_the_token_that_opened_it() {
    let routes = routes_asked_for();
    let host = Arc::new(world(&routes).await);
    let (token, id) = host.token("admin", "admin").await;
    let mut open = Vec::new();
    for route in &routes {
        open.push(Open::begin(&host, &token, route).await);
    }
    let all_begun = async {
        while !open.iter().all(Open::has_begun) {
            tokio::task::yield_now().await;
        }
    };
    let begun = tokio::time::timeout(PATIENCE, all_begun).await;
    begun.expect("every request is at its end or waits");
    let waiting = open.iter().filter(|it| !it.asked.is_finished()).count();
    assert!(waiting >= 9, "only {waiting} of {} wait", routes.len());

    let id = auth::TokenId::new(&id);
    host.host
        .accounts()
        .remove_token(&id, auth::DescendantTokens::Keep, None)
        .await
        .unwrap();
    tokio::time::pause();
    tokio::time::advance(CHECK_INTERVAL).await;
    tokio::time::resume();
    for Open { what, asked, .. } in open {
        let ended = tokio::time::timeout(PATIENCE, asked).await;
        ended.unwrap_or_else(|_| panic!("{what} goes on")).unwrap();
    }
}

/// Lets every request in by a grant that is over, as if it had ended right behind the checks.
async fn too_late(
    axum::extract::State((grant, caller)): axum::extract::State<(Grant, Caller)>,
    mut request: AxumRequest,
    next: Next,
) -> Response {
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(Particulars::default());
    grant.right().carry(next.run(request)).await
}

/// A body by which the route would change something.
fn valid_body(route: &Route) -> Value {
    match (route.method.as_str(), route.path.as_str()) {
        ("POST", "/programs") => program("another"),
        ("PUT", "/programs/{id}/source") => program("other-source"),
        ("POST", "/users") => json!({ "user_id": "another" }),
        ("PATCH", "/users/{user}") => json!({ "role": "admin" }),
        ("POST", "/tokens") => json!({ "scope": "read" }),
        ("PUT", "/programs/{id}/state/file") => json!("content"),
        ("DELETE", "/programs/{id}" | "/users/{user}" | "/tokens/{token}")
        | (
            "POST",
            "/programs/{id}/start"
            | "/programs/{id}/stop"
            | "/programs/{id}/restart"
            | "/programs/{id}/build"
            | "/programs/{id}/rollback",
        ) => Value::Null,
        (method, path) => panic!("say by what body {method} {path} changes something"),
    }
}

/// Whether the route changes nothing that the host keeps.
fn keeps_nothing(route: &Route) -> bool {
    route.path.contains("/watcher") || route.path == "/programs/{id}/state/copy"
}

/// All that is kept of programs and people, but for what was asked for, and the trees of sources.
fn kept(host: &Fixture) -> Vec<String> {
    let path = host.data().join("journal.db");
    let database = rusqlite::Connection::open(path).unwrap();
    let mut found = Vec::new();
    for table in ["programs", "records", "users", "tokens", "idempotency"] {
        let mut rows = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = rows.column_count();
        let rows = rows.query_map([], |row| {
            let value = |at| format!("{:?}", row.get::<_, rusqlite::types::Value>(at));
            Ok((0..columns).map(value).collect::<Vec<_>>().join(" "))
        });
        found.extend(
            rows.unwrap()
                .map(|row| format!("{table}: {}", row.unwrap())),
        );
    }
    for entry in host.host.list() {
        let id = entry.id();
        let builds = host.host.storage().builds(&id).unwrap();
        let builds: Vec<_> = builds.iter().map(|build| build.id.to_string()).collect();
        let state = host.host.storage().paths(&id).state;
        let files = std::fs::read_dir(state).map_or(0, Iterator::count);
        found.push(format!("{id}: {builds:?}, {files} files"));
    }
    found
}

#[tokio::test]
async fn no_route_changes_anything_by_a_right_that_is_over() {
    let routes = routes_asked_for();
    let host = world(&routes).await;
    let (token, id) = host.token("admin", "admin").await;
    let bearer = format!("Bearer {token}");
    let accounts = host.host.accounts();
    let caller = accounts.authenticate(Some(&bearer), 1).unwrap();
    accounts
        .remove_token(&auth::TokenId::new(&id), auth::DescendantTokens::Keep, None)
        .await
        .unwrap();
    let (routed, _) = super::super::routes().split_for_parts();
    let late = (host.host.grant(caller.clone()), caller);
    let late = middleware::from_fn_with_state(late, too_late);
    let routed = routed.layer(late).with_state(host.host.clone());

    let before = kept(&host);
    let mut asked = 0;
    for route in routes.iter().filter(|it| it.changes && !keeps_nothing(it)) {
        let mut target = route.target.clone();
        if route.path == "/tokens/{token}" {
            let (_, other) = host.token("admin", "read").await;
            target = format!("/tokens/{other}");
        }
        let before = kept(&host);
        let request = Request::builder()
            .method(route.method.clone())
            .uri(target)
            .header("content-type", "application/json")
            .body(Body::from(valid_body(route).to_string()))
            .unwrap();
        let answer = routed.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let what = format!("{} {}: {body:?}", route.method, route.path);
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(kept(&host), before, "{what}");
        asked += 1;
    }
    assert!(asked >= 12, "only {asked} routes of {}", before.len());
}

#[tokio::test]
async fn an_upload_of_a_user_who_was_made_again_is_refused() {
    let host = Arc::new(Fixture::new().await);
    host.user("ann").await;
    let (token, _) = host.token("ann", "operate").await;
    let whole = program("late").to_string();
    let (pieces, body) = piecemeal();
    let request = host
        .request_as(&token, Method::POST, "/programs")
        .header("content-type", "application/json")
        .header("idempotency-key", "once")
        .body(body)
        .unwrap();
    let (first, last) = whole.split_at(whole.len() / 2);
    pieces.send(Ok(first.to_owned().into())).await.unwrap();
    let sender = Arc::clone(&host);
    let asked = tokio::spawn(async move { sender.send(request).await });
    pieces.reserve_many(4).await.unwrap();
    assert_eq!(
        host.ask(Method::DELETE, "/users/ann").await.0,
        StatusCode::NO_CONTENT
    );
    host.user("ann").await;
    let (newer, _) = host.token("ann", "operate").await;
    pieces.send(Ok(last.to_owned().into())).await.unwrap();
    drop(pieces);
    let (status, body) = asked.await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    let (_, programs) = host.ask_as(&newer, Method::GET, "/programs").await;
    assert_eq!(programs["programs"], json!([]));
}
