//! The routes, the OpenAPI document that is made from them, and what they share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::hub::Hub;
use super::query::NoQuery;
use super::reply::{ErrorReply, Failure};
use super::{commands, events, journal, logs, metrics, signals, status, values};
use crate::logbook::{Level, LogKind};
use crate::shared::Shared;

/// Least time between two log lines about clients that were cut off: a crowd of them must not push
/// everything else out of the log.
const CUT_OFF_NOTE_EVERY_MS: u64 = 1_000;

/// What the handlers of one watcher share.
pub(super) struct Api {
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) logs: logs::Kept,
    /// The TCP port, 0 without one.
    pub(super) port: u16,
    /// The OpenAPI document, as JSON.
    document: OnceLock<Bytes>,
    /// Connections whose peer took no bytes.
    cut_off: AtomicU64,
    /// When the log was last told, engine time.
    cut_off_noted_ms: AtomicU64,
}

impl Api {
    /// An API that nobody has asked anything.
    pub(super) fn new(shared: Arc<Shared>, port: u16) -> Self {
        Self {
            shared,
            hub: Hub::new(),
            logs: logs::Kept::default(),
            port,
            document: OnceLock::new(),
            cut_off: AtomicU64::new(0),
            cut_off_noted_ms: AtomicU64::new(0),
        }
    }

    /// Connections that were cut off since the start.
    pub(super) fn cut_off_count(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Notes that a peer took no bytes for too long.
    pub(super) fn cut_off(&self, after: Duration) {
        let count = self.cut_off.fetch_add(1, Ordering::Relaxed) + 1;
        let now_ms = self.shared.clock.now_ms();
        let noted_ms = self.cut_off_noted_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(noted_ms) >= CUT_OFF_NOTE_EVERY_MS {
            self.cut_off_noted_ms.store(now_ms, Ordering::Relaxed);
            let text = format!(
                "an API client took no bytes for {after:?} and was cut off ({count} so far)"
            );
            self.shared.note(Level::Warn, LogKind::Reduce, 0, &text);
        }
    }
}

/// All routes of one watcher, and what they share.
pub(super) fn router(shared: Arc<Shared>, port: u16) -> (Router, Arc<Api>) {
    let api = Arc::new(Api::new(shared, port));
    let (router, document) = documented().split_for_parts();
    if let Ok(document) = serde_json::to_vec(&document) {
        let _ = api.document.set(document.into());
    }
    let router = router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api.clone());
    (router, api)
}

/// Routes can only be added together with their part of the document.
fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(head())
        .routes(routes!(status::status))
        .routes(routes!(status::config))
        .routes(routes!(values::var_state))
        .routes(routes!(values::watching))
        .routes(routes!(values::memo_cache))
        .routes(routes!(values::context))
        .routes(routes!(signals::signals))
        .routes(routes!(logs::logs))
        .routes(routes!(journal::journal))
        .routes(routes!(metrics::metrics))
        .routes(routes!(events::events))
        .routes(routes!(commands::message))
        .routes(routes!(commands::stop))
        .routes(routes!(openapi))
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
    match api.document.get() {
        Some(document) => ([(CONTENT_TYPE, "application/json")], document.clone()).into_response(),
        None => {
            let text = "the document cannot be written, which is a defect in hersh";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
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
