//! The routes, and the OpenAPI document that is made from them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::query::NoQuery;
use super::reply::{ErrorReply, Failure};
use super::state::Api;
use super::{
    commands, effects, events, health, journal, logs, messages, metrics, signals, status, values,
};
use crate::shared::Shared;

/// Lists every endpoint, once. The router and the document are both made from this list, so that
/// neither can miss one. The document is made only when somebody asks for it, because making it
/// takes half a megabyte.
macro_rules! endpoints {
    ($make:ident) => {
        $make! {
            get "/watcher/" status::index;
            get "/watcher/status" status::status;
            get "/watcher/health" health::health;
            get "/watcher/config" status::config;
            get "/watcher/varState" values::var_state;
            get "/watcher/watching" values::watching;
            get "/watcher/memoCache" values::memo_cache;
            get "/watcher/context" values::context;
            get "/watcher/effects" effects::effects;
            get "/watcher/signals" signals::signals;
            get "/watcher/logs" logs::logs;
            get "/watcher/journal" journal::journal;
            get "/watcher/metrics" metrics::metrics;
            get "/watcher/events" events::events;
            get "/watcher/inbox" messages::inbox;
            post "/watcher/message" messages::message;
            post "/watcher/inbox/{number}/again" messages::again;
            post "/watcher/inbox/{number}/drop" messages::drop_message;
            post "/watcher/stop" commands::stop;
            get "/watcher/openapi.json" self::openapi;
        }
    };
}

macro_rules! router_of {
    ($($method:ident $path:literal $module:ident::$handler:ident;)+) => {
        Router::new()$(.route($path, $method($module::$handler)))+
    };
}

macro_rules! document_of {
    ($($method:ident $path:literal $module:ident::$handler:ident;)+) => {
        OpenApiRouter::<Arc<Api>>::with_openapi(head())$(.routes(routes!($module::$handler)))+
    };
}

macro_rules! names_of {
    ($($method:ident $path:literal $module:ident::$handler:ident;)+) => {
        vec![$(format!("{} {}", stringify!($method).to_uppercase(), $path)),+]
    };
}

/// Returns method and path of every endpoint.
fn endpoints() -> Vec<String> {
    endpoints!(names_of)
}

/// Returns all routes of one watcher, and what their handlers share.
pub(super) fn router(shared: Arc<Shared>, port: u16) -> (Router, Arc<Api>) {
    let api = Arc::new(Api::new(shared, port, endpoints));
    let router = endpoints!(router_of)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api.clone());
    (router, api)
}

/// Returns the OpenAPI document, as JSON.
fn document() -> Bytes {
    let document = endpoints!(document_of).into_openapi();
    // The document is made of strings and numbers, which can always be written.
    serde_json::to_vec(&document).unwrap_or_default().into()
}

fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("WatcherAPI")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(LicenseBuilder::new().name("MIT").build()))
        .description(Some(
            "What a Hersh watcher shows, and the messages it takes.",
        ))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// This document.
#[utoipa::path(
    get,
    path = "/watcher/openapi.json",
    responses(
        (status = 200, description = "An OpenAPI 3.1 document", body = Object),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
async fn openapi(State(api): State<Arc<Api>>, _: NoQuery) -> Response {
    let document = api.document.get_or_init(document).clone();
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

async fn unknown_path(request: Request) -> Failure {
    let path: String = request.uri().path().chars().take(200).collect();
    Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

async fn wrong_method(request: Request) -> Failure {
    let method = request.method();
    let path = request.uri().path();
    let text = format!("{path} does not take {method}");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, text)
}
