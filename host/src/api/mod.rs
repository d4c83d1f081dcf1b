//! The HTTP API, version 1.
//!
//! ```text
//! request ──► token checked ──► path and query parsed into types ──► Host ──► wire types
//!                                         └──► Failure: problem details with a stable code
//! ```
//!
//! | method and path | does |
//! |---|---|
//! | `POST /programs` | takes a program in: JSON, or a tar with `hersh.toml` and `?name=` |
//! | `GET /programs` | lists |
//! | `GET`, `DELETE /programs/{id}` | shows, removes; `?wait=30s` holds until settled |
//! | `PUT /programs/{id}/source` | replaces source and manifest; counts from the next start |
//! | `POST /programs/{id}/start`, `stop`, `restart` | commands; `?wait=30s` holds until settled |
//! | `GET /programs/{id}/logs` | output; `?tail=`, `?follow=true` as Server-Sent Events |
//! | `GET /programs/{id}/builds/{build}/logs` | a build's output; `latest` names the newest |
//! | `GET /programs/{id}/events`, `receipt` | the journal, what the last start proved |
//! | any `/programs/{id}/watcher/*` | the program's WatcherAPI, through the proxy; also by `/programs/{id}/proxy/watcher/*` |
//! | `GET /healthz`, `/readyz` | alive; able to start programs (no token needed) |

mod extract;
mod logs;
mod problem;
mod programs;
mod source;
#[cfg(test)]
mod tests;
mod watcher;

use axum::Json;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use hersh_wire::{Code, Health};

use crate::host::Host;
use problem::Failure;

/// Bytes of a JSON request.
const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The routes of a host.
pub(crate) fn router(host: Host) -> Router {
    let private = Router::new()
        .route("/programs", get(programs::list).post(source::create))
        .route(
            "/programs/{id}",
            get(programs::show).delete(programs::remove),
        )
        .route("/programs/{id}/source", put(source::replace))
        .route("/programs/{id}/start", post(programs::start))
        .route("/programs/{id}/stop", post(programs::stop))
        .route("/programs/{id}/restart", post(programs::restart))
        .route("/programs/{id}/logs", get(logs::program))
        .route("/programs/{id}/builds/{build}/logs", get(logs::build))
        .route("/programs/{id}/events", get(programs::events))
        .route("/programs/{id}/receipt", get(programs::receipt))
        .route("/programs/{id}/watcher", any(watcher::forward))
        .route("/programs/{id}/watcher/{*path}", any(watcher::forward))
        .route("/programs/{id}/proxy/watcher", any(watcher::forward))
        .route(
            "/programs/{id}/proxy/watcher/{*path}",
            any(watcher::forward),
        )
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(host.clone(), authorise));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(private)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .with_state(host)
}

/// Nothing behind this runs without a valid token, not even the answer that a route is unknown.
async fn authorise(State(host): State<Host>, request: Request, next: Next) -> Response {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    if values.next().is_none() && host.auth().admits(value) {
        return next.run(request).await;
    }
    Failure::new(
        Code::Unauthorized,
        "send 'Authorization: Bearer hersh_...' with a valid token",
    )
    .into_response()
}

async fn unknown_route(request: Request) -> Failure {
    Failure::new(
        Code::NotFound,
        format!(
            "no route {}; see the API's documentation",
            request.uri().path()
        ),
    )
}

async fn wrong_method(request: Request) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(
        Code::MethodNotAllowed,
        format!("{method} is not possible on {path}"),
    )
}

async fn healthz() -> Json<Health> {
    Json(health("ok"))
}

async fn readyz(State(host): State<Host>) -> Result<Json<Health>, Failure> {
    host.runtime().check().await?;
    Ok(Json(health("ok")))
}

fn health(status: &str) -> Health {
    Health {
        status: status.into(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}
