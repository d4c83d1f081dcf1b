//! How the watcher is, and how it is configured.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Timestamp};
use super::routes::Api;
use crate::clock::duration_text;
use crate::{LOG_LINE_LIMIT, MEMO_LIMIT};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReply {
    /// What it is doing, such as `Ready`.
    state: &'static str,
    /// True while messages are taken.
    is_running: bool,
    #[serde(rename = "watcherID")]
    #[schema(value_type = String)]
    watcher_id: Arc<str>,
    /// Since the start, such as `1h2m3.5s`.
    uptime: String,
    /// When the state last changed.
    last_update: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ConfigReply {
    config: Config,
    timestamp: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// The TCP port of the API, 0 when it has only a Unix socket.
    server_port: u16,
    /// How many messages may wait.
    signal_chan_capacity: usize,
    /// How many lines of each kind the log keeps.
    max_log_entries: usize,
    /// How many memoised values are kept.
    max_memo_entries: usize,
}

/// How the watcher is.
#[utoipa::path(
    get,
    path = "/watcher/status",
    responses((status = 200, description = "Its state", body = StatusReply))
)]
pub(super) async fn status(State(api): State<Arc<Api>>) -> Json<StatusReply> {
    let status = api.shared.status();
    Json(StatusReply {
        state: status.state.as_str(),
        is_running: status.state.is_running(),
        watcher_id: status.watcher_id,
        uptime: duration_text(status.uptime),
        last_update: Timestamp(status.last_update),
    })
}

/// How the watcher is configured.
#[utoipa::path(
    get,
    path = "/watcher/config",
    responses(
        (status = 200, description = "Its bounds", body = ConfigReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn config(State(api): State<Arc<Api>>, _: NoQuery) -> Json<ConfigReply> {
    Json(ConfigReply {
        config: Config {
            server_port: api.port,
            signal_chan_capacity: api.shared.inbox.capacity(),
            max_log_entries: LOG_LINE_LIMIT,
            max_memo_entries: MEMO_LIMIT,
        },
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}
