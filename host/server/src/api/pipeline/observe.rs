//! Observes every request from its first line to the head of its answer: gives the request an id,
//! measures it, and makes a span for everything that is logged on its way.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::Request,
    http::{HeaderValue, Method},
    response::Response,
};
use hersh_program::ProgramId;
use hersh_wire::Code;
use tracing::{Span, field::Empty};

use super::request_id::{self, RequestIds};
use crate::{host::Host, metrics::Metrics};

/// The name in metrics and logs for a route that does not exist.
const NO_ROUTE: &str = "none";

/// Observes requests. Clones share metrics and ids.
#[derive(Clone)]
pub(super) struct Observer {
    metrics: Metrics,
    ids: Arc<RequestIds>,
}

impl Observer {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            metrics: host.metrics().clone(),
            ids: Arc::new(RequestIds::new()),
        }
    }
}

/// Returns the span of a request. Requests to programs are many and the program's own business, so
/// their spans have the level `debug`.
fn span(request: &Request, id: &HeaderValue, method: &str, route: &str) -> Span {
    let id = id.to_str().unwrap_or_default();
    let span = if is_proxied(route) {
        tracing::debug_span!(
            "request",
            request_id = id,
            method,
            route,
            program = Empty,
            user = Empty,
            status = Empty,
            "otel.kind" = "server",
        )
    } else {
        tracing::info_span!(
            "request",
            request_id = id,
            method,
            route,
            program = Empty,
            user = Empty,
            status = Empty,
            "otel.kind" = "server",
        )
    };
    if !span.is_disabled()
        && let Some(program) = program(request.uri().path(), route)
    {
        span.record("program", program.as_str());
    }
    span
}

/// Returns the program that the path names; `None` if it names none, or if the name can't be an id.
fn program(path: &str, route: &str) -> Option<ProgramId> {
    if !route.starts_with("/programs/{id}") {
        return None;
    }
    ProgramId::parse(path.split('/').nth(2)?).ok()
}

impl Observer {
    /// Begins to observe a request for `route`. The code that finds out later who the caller is records
    /// the caller as the span's `user`.
    pub(super) fn see<'a>(
        &'a self,
        request: &Request,
        route: Option<&'a str>,
    ) -> ObservedRequest<'a> {
        let began = Instant::now();
        let route = route.unwrap_or(NO_ROUTE);
        let method = method_name(request.method());
        let id = self.ids.of(request.headers());
        let span = span(request, &id, method, route);
        ObservedRequest {
            observer: self,
            route,
            began,
            method,
            id,
            span,
        }
    }
}

/// A request that is being observed.
pub(super) struct ObservedRequest<'a> {
    observer: &'a Observer,
    route: &'a str,
    began: Instant,
    method: &'static str,
    id: HeaderValue,
    span: Span,
}

impl ObservedRequest<'_> {
    /// Returns the span for everything that is logged on the way of the request.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Measures and logs the answer, and puts the request's id into its header.
    pub(super) fn answered(self, mut answer: Response) -> Response {
        self.span.in_scope(|| self.note(&answer));
        answer.headers_mut().insert(request_id::HEADER, self.id);
        answer
    }

    fn note(&self, answer: &Response) {
        let (method, route) = (self.method, self.route);
        let (status, took) = (answer.status(), self.began.elapsed());
        let code = answer.extensions().get::<Code>().copied();
        let metrics = &self.observer.metrics;
        if let Some(code) = code
            && is_about_the_sender(code)
        {
            metrics.refused(code);
        }
        if is_proxied(route) {
            metrics.proxied(code, took);
        } else {
            metrics.request(method, route, status.as_u16(), took);
        }
        Span::current().record("status", status.as_u16());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Requests without a valid token write nothing into a log of the usual level.
        let is_stranger = matches!(code, Some(Code::Unauthorized | Code::RateLimited));
        let is_look = matches!(method, "GET" | "HEAD") && !status.is_server_error();
        if is_proxied(route) || is_look || is_stranger {
            tracing::debug!(status = status.as_u16(), took_ms, ?code, "answered");
        } else if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), took_ms, ?code, "answered");
        } else {
            tracing::info!(status = status.as_u16(), took_ms, ?code, "answered");
        }
    }
}

/// Returns true for routes that lead to programs.
fn is_proxied(route: &str) -> bool {
    route.contains("/watcher")
}

fn is_about_the_sender(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthorized | Code::Forbidden | Code::RateLimited
    )
}

/// Returns the name of a method for metrics and logs. Clients can make up methods, so all that are not
/// known here share one name.
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
