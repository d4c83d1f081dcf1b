//! Every route against every kind of caller, enumerated from the API's own document.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{document, rules::Rules},
    auth::Token,
};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Malformed,
    Unknown,
    Expired,
    Twice,
    Stranger(&'static str),
    Owner(&'static str),
    Admin(&'static str),
}

const CALLERS: [Who; 12] = [
    Who::Nobody,
    Who::Malformed,
    Who::Unknown,
    Who::Expired,
    Who::Twice,
    Who::Stranger("read"),
    Who::Stranger("operate"),
    Who::Owner("read"),
    Who::Owner("operate"),
    Who::Admin("read"),
    Who::Admin("operate"),
    Who::Admin("admin"),
];

/// What the document says of one operation.
struct Operation {
    method: Method,
    path: String,
    /// `None` if anybody may ask.
    scope: Option<String>,
    for_admins: bool,
}

fn operations() -> Vec<Operation> {
    let document = document::value();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = &operation["security"];
            let name = format!("{method} {path}");
            assert!(
                security.is_array(),
                "{name} does not say who may ask for it"
            );
            let words: Vec<&str> = security[0]["bearer"]
                .as_array()
                .map(|words| words.iter().map(|word| word.as_str().unwrap()).collect())
                .unwrap_or_default();
            let scopes = ["read", "operate", "admin"];
            let scope = words.iter().find(|word| scopes.contains(word));
            let is_public = security[0] == json!({});
            assert!(is_public != scope.is_some(), "{name} says {security}");
            found.push(Operation {
                method: method.to_ascii_uppercase().parse().unwrap(),
                path: path.clone(),
                scope: scope.map(ToString::to_string),
                for_admins: words.contains(&"host"),
            });
        }
    }
    found
}

impl Operation {
    fn target(&self, token: &str) -> String {
        let path = self.path.replace("{id}", "a").replace("{build}", "latest");
        let path = path.replace("{user}", "ann").replace("{token}", token);
        path.replace("{path}", "status")
    }

    fn is_about_a_program(&self) -> bool {
        self.path.contains("{id}")
    }
}

impl Who {
    /// The status that the pipeline owes this caller; `None` if it has to let it through.
    fn refusal(self, operation: &Operation) -> Option<StatusCode> {
        let needs = operation.scope.as_deref()?;
        let rank = |scope: &str| {
            ["read", "operate", "admin"]
                .iter()
                .position(|it| *it == scope)
        };
        let (has, is_admin) = match self {
            Self::Nobody | Self::Malformed | Self::Unknown | Self::Expired | Self::Twice => {
                return Some(StatusCode::UNAUTHORIZED);
            }
            Self::Stranger(scope) | Self::Owner(scope) => (scope, false),
            Self::Admin(scope) => (scope, true),
        };
        if rank(has) < rank(needs) || (operation.for_admins && !is_admin) {
            return Some(StatusCode::FORBIDDEN);
        }
        let is_foreign = matches!(self, Self::Stranger(_)) && operation.is_about_a_program();
        is_foreign.then_some(StatusCode::NOT_FOUND)
    }
}

/// A host with program `a` of user `ann`, and a token for each kind of caller.
struct World {
    host: Fixture,
    tokens: Vec<(Who, Vec<String>)>,
    ann_token_id: String,
}

impl World {
    async fn new() -> Self {
        let host = Fixture::new().await;
        for user in ["ann", "bob"] {
            host.user(user).await;
        }
        let mut tokens = Vec::new();
        for who in CALLERS {
            let sent = match who {
                Who::Nobody => Vec::new(),
                Who::Malformed => vec!["hersh_nonsense".to_owned()],
                Who::Unknown => vec![Token::generate().unwrap().reveal().to_owned()],
                Who::Expired => vec![host.expired_token("ann").await],
                Who::Twice => vec![host.token.clone(), host.token.clone()],
                Who::Stranger(scope) => vec![host.token("bob", scope).await.0],
                Who::Owner(scope) => vec![host.token("ann", scope).await.0],
                Who::Admin(scope) => vec![host.token("admin", scope).await.0],
            };
            tokens.push((who, sent));
        }
        // One that nobody uses, for the routes about a token.
        let (_, ann_token_id) = host.token("ann", "read").await;
        let world = Self {
            host,
            tokens,
            ann_token_id,
        };
        world.program().await;
        world
    }

    /// Sees to it that program `a` of `ann` is there and Ready.
    async fn program(&self) {
        let token = &self.sent(Who::Owner("operate"))[0];
        // One that is being removed is waited for.
        self.host
            .ask_as(token, Method::GET, "/programs/a?wait=30s")
            .await;
        self.host.json_as(token, "/programs", &program("a")).await;
        let (_, body) = self
            .host
            .ask_as(token, Method::POST, "/programs/a/start?wait=30s")
            .await;
        assert_eq!(body["state"], "Ready", "{body}");
    }

    fn sent(&self, who: Who) -> &[String] {
        &self.tokens.iter().find(|(it, _)| *it == who).unwrap().1
    }

    async fn ask(&self, who: Who, method: &Method, path: &str) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method.clone()).uri(path);
        for token in self.sent(who) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.header("content-type", "application/json");
        self.host
            .send(request.body(Body::from("{}")).unwrap())
            .await
    }
}

#[tokio::test]
async fn every_route_refuses_every_caller_that_it_has_to_and_no_other() {
    let world = World::new().await;
    let operations = operations();
    assert!(operations.len() > 25, "the document lists the routes");
    for operation in &operations {
        let target = operation.target(&world.ann_token_id);
        for who in CALLERS {
            let name = format!("{} {target} by {who:?}", operation.method);
            let Some(expected) = who.refusal(operation) else {
                continue;
            };
            let (status, body) = world.ask(who, &operation.method, &target).await;
            assert_eq!(status, expected, "{name}: {body}");
            if operation.method != Method::HEAD {
                assert!(body["code"].is_string(), "{name}: {body}");
            }
        }
    }
    // Refusals changed nothing, so what is let through finds everything in its place.
    assert_eq!(world.host.host.list().len(), 1);
    let removals_last = |operation: &&Operation| operation.method == Method::DELETE;
    let (last, first): (Vec<_>, Vec<_>) = operations.iter().partition(removals_last);
    for operation in first.into_iter().chain(last) {
        for who in CALLERS
            .into_iter()
            .filter(|who| who.refusal(operation).is_none())
        {
            if operation.is_about_a_program() {
                world.program().await;
            }
            let target = operation.target(&world.ann_token_id);
            let (status, body) = world.ask(who, &operation.method, &target).await;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
            let name = format!("{} {target} by {who:?}", operation.method);
            assert!(!refused.contains(&status), "{name}: {status} {body}");
            assert!(
                !status.is_server_error() || status == 502 || status == 503,
                "{name}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_a_route_tells_a_caller_without_a_token_nothing() {
    let host = Fixture::new().await;
    for (method, path) in [
        (Method::GET, "/nothing/here"),
        (Method::PATCH, "/programs"),
        (Method::OPTIONS, "/programs"),
        (Method::GET, "/programs/a/unknown"),
    ] {
        let request = Request::builder().method(method.clone()).uri(path);
        let (status, body) = host.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}: {body}");
    }
    let (status, _) = host.ask(Method::OPTIONS, "/programs").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn a_route_that_says_nothing_is_a_route_that_nobody_may_use() {
    let rules = Rules::of(&json!({ "paths": { "/new": { "post": { "responses": {} } } } }));
    assert_eq!(rules.access("/new", &Method::POST), None);
}

#[tokio::test]
async fn a_valid_token_is_let_in_while_guesses_are_slowed_down() {
    let host = Fixture::new().await;
    let from = |token: &str| {
        let peer: std::net::SocketAddr = "192.0.2.7:1234".parse().unwrap();
        Request::get("/programs")
            .header("authorization", format!("Bearer {token}"))
            .extension(axum::extract::ConnectInfo(peer))
            .body(Body::empty())
            .unwrap()
    };
    let mut last = StatusCode::OK;
    for _ in 0..=crate::auth::FAILURES_MAX {
        last = host.send(from("wrong")).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(host.send(from(&host.token)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_refused_and_ours_is_named() {
    let host = Fixture::new().await;
    for (accept, expected) in [
        ("application/vnd.hersh.v1+json", 200),
        ("application/json", 200),
        ("*/*", 200),
        (
            "application/vnd.hersh.v2+json, application/vnd.hersh.v1+json",
            200,
        ),
        ("application/vnd.hersh.v2+json", 406),
    ] {
        let request = host
            .request(Method::GET, "/programs")
            .header("accept", accept);
        let answer = host.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status().as_u16(), expected, "{accept}");
        assert_eq!(answer.headers()["hersh-api-version"], "1");
    }
}
