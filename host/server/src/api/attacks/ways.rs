//! Whoever looks at a program by another way finds the same door: every way passes one pipeline.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Method, Request},
};
use hersh_base::permits::Share;
use hersh_program::UserId;
use serde_json::Value;
use tower::ServiceExt;

use super::world::{World, decent};
use crate::{
    api::{document, router, site, watcher},
    auth::{self, Role, Token},
    config::LogFormat,
    connections::{Client, ClientConnection, RequestHandler as _, Scheme},
    host::Host,
    metrics::{Snapshot, exposition},
    telemetry::capture::Capture,
};

/// From here came too many requests without a valid token.
const FLOODED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 1);

/// How a look comes to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As a connection is served, past the router.
    Short,
    /// The same address, through the router.
    Router,
    /// The older address of the same, which the router alone knows.
    Older,
}

/// A request and what it is owed.
struct Look {
    name: &'static str,
    method: Method,
    /// What comes before the path.
    origin: &'static str,
    program: &'static str,
    /// What is asked for, below the WatcherAPI's root.
    below: String,
    headers: Vec<(&'static str, String)>,
    peer: SocketAddr,
    status: u16,
    code: Option<&'static str>,
}

/// All that a look leads to, but for what is new each time.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    headers: HeaderMap,
    body: String,
    /// How much each series of the metrics grew.
    counted: BTreeMap<String, f64>,
    /// What the log says of it.
    logged: Vec<Value>,
    /// Connections that members have, while this one is open.
    connections: usize,
    /// Rows of the audit log.
    audited: usize,
}

impl Look {
    /// A look that is let in.
    fn new(name: &'static str, token: &str) -> Self {
        Self {
            name,
            method: Method::GET,
            origin: "",
            program: "p",
            below: "x".to_owned(),
            headers: vec![
                ("authorization", format!("Bearer {token}")),
                ("host", "host.example".to_owned()),
                ("x-request-id", "mine".to_owned()),
            ],
            peer: ([192, 0, 2, 1], 1).into(),
            status: 200,
            code: None,
        }
    }

    fn owed(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, Some(code));
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(it, _)| *it != name);
        self
    }

    fn request(&self, way: Way) -> Request<Body> {
        let watcher = match way {
            Way::Short | Way::Router => "watcher",
            Way::Older => "proxy/watcher",
        };
        let (origin, program, below) = (self.origin, self.program, &self.below);
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{origin}/programs/{program}/{watcher}/{below}"));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Body::empty()).unwrap()
    }
}

/// What was asked, and of whom, is counted in these.
const COUNTED: [&str; 3] = [
    "hersh_api_requests_total",
    "hersh_proxy_requests_total",
    "hersh_auth_failures_total",
];

fn counted(host: &Host) -> BTreeMap<String, f64> {
    let text = host.metrics().text(Snapshot::default()).unwrap();
    let families = exposition::read(&text);
    // A family without a sample is not there.
    let found = COUNTED.iter().filter_map(|family| families.get(*family));
    found.flat_map(|family| family.samples.clone()).collect()
}

/// How much each series grew since `before`.
fn growth(host: &Host, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let since = |series: &str| before.get(series).copied().unwrap_or_default();
    let now = counted(host).into_iter();
    let grown = now.map(|(series, count)| (series.clone(), count - since(&series)));
    grown.filter(|(_, count)| *count > 0.0).collect()
}

/// What the log says of answered requests, less the time and the route's name.
fn logged(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let answered = lines.filter(|line: &Value| line["message"] == "answered");
    let of_all = |mut line: Value| {
        for (part, names) in [("", &["timestamp", "took_ms"][..]), ("/span", &["route"])] {
            let part = line.pointer_mut(part).unwrap().as_object_mut().unwrap();
            names.iter().for_each(|name| drop(part.remove(*name)));
        }
        line
    };
    answered.map(of_all).collect()
}

async fn take(world: &World, log: &Capture, look: &Look, way: Way) -> Outcome {
    let mut request = look.request(way);
    let client = Client {
        address: look.peer,
        scheme: Scheme::Http,
        connection: ClientConnection::default(),
    };
    let short = watcher::DirectRequest::asked_for(&request, &world.host, &client);
    assert_eq!(short.is_some(), way != Way::Older, "{}", look.name);
    let (before, logged_before) = (counted(&world.host), log.text().len());
    let answer = match way {
        Way::Short | Way::Older => {
            let site = Arc::new(site(world.host.clone()));
            site.answer(request, client.clone()).await.unwrap()
        }
        Way::Router => {
            request.extensions_mut().insert(ConnectInfo(client.address));
            request.extensions_mut().insert(client.clone());
            router(world.host.clone()).oneshot(request).await.unwrap()
        }
    };
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, 10_000).await.unwrap();
    let mut headers = head.headers;
    // A router tells lengths by itself, a connection does it for both.
    headers.remove("content-length");
    let passing = headers.get_mut("retry-after");
    passing.map(|it| std::mem::replace(it, HeaderValue::from_static("soon")));
    Outcome {
        status: head.status.as_u16(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        counted: growth(&world.host, &before),
        logged: logged(&log.text()[logged_before..]),
        connections: world.host.permits().connections.taken(),
        audited: world.host.journal().audit_page(None, 1_000).unwrap().len(),
    }
}

/// The program is an admin's; one of the members has all connections that it may have.
fn looks(admin: &str, member: &str, crowded: &str) -> Vec<Look> {
    let unknown = Token::generate().unwrap();
    let unknown = unknown.reveal();
    let bearer = format!("Bearer {admin}");
    let refused = |name| Look::new(name, unknown).owed(401, "unauthorized");
    vec![
        Look::new("let in", admin),
        Look {
            method: Method::HEAD,
            ..Look::new("let in for the head", admin)
        },
        Look::new("of our version", admin).header("accept", "application/vnd.hersh.v1+json"),
        refused("no token").without("authorization"),
        refused("unknown token"),
        Look::new("two tokens", admin)
            .header("authorization", &bearer)
            .owed(401, "unauthorized"),
        Look::new("another version", admin)
            .header("accept", "application/vnd.hersh.v2+json")
            .owed(406, "not_acceptable"),
        Look {
            below: format!("x?token={unknown}"),
            ..Look::new("token in the address", admin).owed(400, "bad_request")
        },
        Look::new("user info in the host's name", admin)
            .without("host")
            .header("host", "user:password@host.example")
            .owed(400, "bad_request"),
        Look {
            origin: "http://user:password@host.example",
            ..Look::new("user info in the address", admin).owed(400, "bad_request")
        },
        Look {
            below: "%2e%2e/x".to_owned(),
            ..Look::new("out of the WatcherAPI", admin).owed(404, "not_found")
        },
        Look {
            program: "ghost",
            ..Look::new("no such program", admin).owed(404, "not_found")
        },
        Look::new("somebody else's program", member).owed(404, "not_found"),
        Look::new("too many connections", crowded).owed(503, "queue_full"),
        Look {
            peer: FLOODED,
            ..refused("throttled address").owed(429, "rate_limited")
        },
    ]
}

#[tokio::test]
async fn every_way_to_a_program_passes_the_same_pipeline() {
    let (log, _guard) = Capture::start("hersh_host=debug", LogFormat::Json);
    let world = World::in_one_runtime(decent).await;
    let member = world.add_user("member", Role::Member).await;
    let crowded = world.add_user("crowded", Role::Member).await;
    let (_, by_member) = world.add_token(&member).await;
    let (_, by_crowded) = world.add_token(&crowded).await;
    let all_of = |user: &UserId| {
        let permits = &world.host.permits().connections;
        std::iter::from_fn(|| permits.take(user, Share::Fair)).collect::<Vec<_>>()
    };
    let _held = all_of(&crowded);
    for _ in 0..=auth::FAILURES_MAX {
        let now_ms = world.host.now_ms();
        world.host.throttle().failed(FLOODED.ip(), now_ms);
    }
    for look in looks(&world.token, &by_member, &by_crowded) {
        let short = take(&world, &log, &look, Way::Short).await;
        let name = look.name;
        let body: Value = serde_json::from_str(&short.body).unwrap_or_default();
        let got = (short.status, body["code"].as_str());
        assert_eq!(got, (look.status, look.code), "{name}: {short:?}");
        assert_eq!(short.headers["x-request-id"], "mine", "{name}");
        assert_eq!(short.headers["hersh-api-version"], "1", "{name}");
        assert!(!short.counted.is_empty(), "{name}");
        assert_eq!(short.logged.len(), 1, "{name}");
        for way in [Way::Router, Way::Older] {
            let other = take(&world, &log, &look, way).await;
            assert_eq!(short, other, "{name}, {way:?}");
        }
    }
    assert_eq!(world.seen.targets().len(), 9, "only what was let in");
}

#[tokio::test]
async fn every_route_and_what_is_none_is_seen_once() {
    let world = World::in_one_runtime(decent).await;
    let document = document::value();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_ascii_uppercase(), path.as_str()))
    });
    let elsewhere = [
        ("GET", "/nothing/here"),
        ("TRACE", "/programs"),
        ("GET", "*"),
    ];
    let elsewhere = elsewhere.map(|(method, path)| (method.to_owned(), path));
    for (method, path) in operations.chain(elsewhere) {
        let target = path.replace("{id}", "p").replace(['{', '}'], "");
        let request = Request::builder().method(method.as_str()).uri(&target);
        let client = Client {
            address: ([192, 0, 2, 1], 1).into(),
            scheme: Scheme::Http,
            connection: ClientConnection::default(),
        };
        let before = counted(&world.host);
        let site = Arc::new(site(world.host.clone()));
        let answered = site.answer(request.body(Body::empty()).unwrap(), client);
        let answer = answered.await.unwrap();
        let name = format!("{method} {target}");
        assert!(answer.headers().contains_key("x-request-id"), "{name}");
        assert_eq!(answer.headers()["hersh-api-version"], "1", "{name}");
        let mut grown = growth(&world.host, &before);
        grown.retain(|series, _| !series.starts_with("hersh_auth_failures_total"));
        assert_eq!(grown.values().sum::<f64>(), 1.0, "{name}: {grown:?}");
    }
    assert!(world.seen.all().is_empty(), "none of them had a token");
}

#[tokio::test]
async fn a_request_under_way_stays_small() {
    let world = World::in_one_runtime(decent).await;
    let client = Client {
        address: ([192, 0, 2, 1], 1).into(),
        scheme: Scheme::Http,
        connection: ClientConnection::default(),
    };
    let site = Arc::new(site(world.host.clone()));
    let answered = site.answer(Request::default(), client);
    // All of it moves with each request.
    assert!(
        size_of_val(&answered) <= 2_048,
        "{}",
        size_of_val(&answered)
    );
}
