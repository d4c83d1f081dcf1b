//! Sees every request from its first line to the head of its answer.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use hersh_wire::Code;

use crate::host::Host;

/// What stands for a route that does not exist.
const NO_ROUTE: &str = "none";

/// Measures a request.
pub(super) async fn observe(State(host): State<Host>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answer = next.run(request).await;
    let (code, took) = (answer.extensions().get::<Code>().copied(), began.elapsed());
    let metrics = host.metrics();
    if let Some(code) = code
        && is_about_the_sender(code)
    {
        metrics.refused(code);
    }
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    if is_proxied(route) {
        metrics.proxied(code, took);
    } else {
        metrics.request(method, route, answer.status().as_u16(), took);
    }
    answer
}

/// True for routes that lead to programs.
fn is_proxied(route: &str) -> bool {
    route.contains("/watcher")
}

fn is_about_the_sender(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthorized | Code::Forbidden | Code::RateLimited
    )
}

/// The method; clients can make up any, so others share one name.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PATCH, "PATCH"),
    ];
    KNOWN
        .iter()
        .find(|(known, _)| known == method)
        .map_or("other", |(_, name)| name)
}
