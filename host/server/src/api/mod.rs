//! The HTTP API, version 1.
//!
//! ```text
//! request ─► pipeline: id, token, rule, audit ─► path, query and body parsed ─► Host ─► wire types
//!                                                         └─► Failure: problem details with a code
//! ```
//!
//! | method and path | does |
//! |---|---|
//! | `POST /programs` | takes a program in: JSON, or a tar with `hersh.toml` and `?name=` |
//! | `GET /programs` | lists programs: `?state=`, `?owner=`, `?limit=`, `?cursor=` |
//! | `GET`, `DELETE /programs/{id}` | shows, removes; `?wait=30s` waits until the program has settled |
//! | `GET`, `PUT /programs/{id}/source` | the source as a tar, `?revision=`; stores a new revision, `?message=` |
//! | `GET /programs/{id}/revisions` | what was deployed, newest first |
//! | `POST /programs/{id}/build` | builds the newest revision and does not start it; `?wait=30s` as above |
//! | `POST /programs/{id}/rollback` | starts an earlier revision: `?revision=`; `?wait=30s` as above |
//! | `POST /programs/{id}/start`, `stop`, `restart` | commands; `?wait=30s` waits as above |
//! | `GET /programs/{id}/logs` | output; `?tail=`, `?since=`, `?follow=true` as Server-Sent Events |
//! | `GET /programs/{id}/builds`, `/builds/{build}/logs` | builds, a build's output; `latest` names the newest |
//! | `GET /programs/{id}/events` | the journal; `?after=`, `?follow=true` as Server-Sent Events |
//! | `POST /programs/{id}/state/copy` | a consistent copy of `/state` as a tar |
//! | `PUT /programs/{id}/state/file` | replaces one file of `/state`, `?path=`, of a program at rest |
//! | `GET /programs/{id}/receipt` | what the last start proved |
//! | `GET /programs/{id}/compose` | how the program is confined, as a compose file |
//! | `GET /programs/{id}/stats` | what the program uses now: processor time, memory, network, `/state` |
//! | any `/programs/{id}/watcher/*` | the program's WatcherAPI, through the proxy; also by `/programs/{id}/proxy/watcher/*` |
//! | `GET`, `POST /users`, `GET`, `PATCH`, `DELETE /users/{user}` | users, for admins |
//! | `GET`, `POST /tokens`, `DELETE /tokens/{token}`, `GET /whoami` | tokens, the caller's own for members |
//! | `GET /audit` | who changed what, for admins |
//! | `GET /metrics` | what the host measures, for Prometheus, for admins |
//! | `GET /healthz`, `/readyz`, `/openapi.json` | alive; able to start programs; this list (no token needed) |
//!
//! `POST /programs` takes an `Idempotency-Key`. The live streams of logs and of events take `Last-Event-ID`.

#[cfg(test)]
mod attacks;
mod audit;
mod build_query;
mod builds;
mod document;
mod events;
mod extract;
mod fetch_source;
mod gather;
mod health;
mod lists;
mod logs;
mod metrics;
mod pipeline;
mod problem;
mod programs;
mod revisions;
mod rules;
mod site;
mod source;
mod source_query;
mod state;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod upload;
mod users;
mod view;
mod watcher;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware,
};
use hersh_wire::Code;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::host::Host;
use pipeline::{Pipeline, pass_to_router};
use problem::Failure;

pub(crate) use site::Site;

/// The most bytes that a JSON request with source may have.
const SOURCE_JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes that any other JSON request may have.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// Returns the site that serves the connections of `host`.
pub(crate) fn site(host: Host) -> Site {
    let pipeline = Pipeline::new(host);
    let router = routed(pipeline.clone());
    Site::new(pipeline, router)
}

/// Returns the routes of `host`, without a server in front.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn router(host: Host) -> Router {
    routed(Pipeline::new(host))
}

fn routed(pipeline: Pipeline) -> Router {
    let (router, _document) = routes().split_for_parts();
    let host = pipeline.host().clone();
    router
        .fallback(unknown_route)
        // This layer checks nothing itself. It only sets the limit for extractors that read a body.
        .layer(DefaultBodyLimit::max(SOURCE_JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(pipeline, pass_to_router))
        .with_state(host)
}

/// Returns every route, once. Router, document and rules are all made from this list.
fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(programs::list, source::create))
        .routes(routes!(programs::show, programs::remove))
        .routes(routes!(fetch_source::fetch, source::replace))
        .routes(routes!(programs::start))
        .routes(routes!(programs::stop))
        .routes(routes!(programs::restart))
        .routes(routes!(revisions::list))
        .routes(routes!(revisions::build))
        .routes(routes!(revisions::roll_back))
        .routes(routes!(programs::receipt))
        .routes(routes!(programs::compose))
        .routes(routes!(stats::show))
        .routes(routes!(state::copy))
        .routes(routes!(state::put_file))
        .routes(routes!(logs::program))
        .routes(routes!(builds::list))
        .routes(routes!(builds::logs))
        .routes(routes!(events::events))
        .routes(routes!(watcher::look, watcher::steer))
        .routes(routes!(watcher::look_root, watcher::steer_root))
        .routes(routes!(watcher::look_below, watcher::steer_below))
        .routes(routes!(watcher::look_older, watcher::steer_older))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::change, users::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(tokens::whoami))
        .routes(routes!(audit::list))
        .routes(routes!(metrics::show))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(document::openapi))
}

async fn unknown_route(request: Request) -> Failure {
    Failure::new(
        Code::NotFound,
        format!(
            "no route {}; GET /openapi.json lists them",
            request.uri().path()
        ),
    )
}
