//! How the watcher is, and how it is configured.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Timestamp};
use super::state::Api;
use crate::base::clock::duration_text;
use crate::{LOG_LINE_LIMIT, MEMO_LIMIT, WatcherState};

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

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexReply {
    #[serde(rename = "watcherID")]
    #[schema(value_type = String)]
    watcher_id: Arc<str>,
    /// What it is doing, such as `Ready`.
    state: &'static str,
    /// What may be asked for, method and path.
    endpoints: Vec<String>,
}

/// What this API has.
#[utoipa::path(
    get,
    path = "/watcher/",
    responses((status = 200, description = "Its state and all endpoints", body = IndexReply))
)]
pub(super) async fn index(State(api): State<Arc<Api>>) -> Json<IndexReply> {
    let status = api.shared.status();
    Json(IndexReply {
        watcher_id: status.watcher_id,
        state: status.state.as_str(),
        endpoints: (api.endpoints)(),
    })
}

/// How the watcher is. As long as its managed function never succeeded, the status says that it
/// serves nobody yet: whoever waits for a watcher to be up needs to know no more than that.
#[utoipa::path(
    get,
    path = "/watcher/status",
    responses(
        (status = 200, description = "Its state", body = StatusReply),
        (status = 503, description = "The same, before its first run succeeded", body = StatusReply),
    )
)]
pub(super) async fn status(State(api): State<Arc<Api>>) -> (StatusCode, Json<StatusReply>) {
    let status = api.shared.status();
    let code = match status.state {
        WatcherState::NotRun | WatcherState::InitRun => StatusCode::SERVICE_UNAVAILABLE,
        WatcherState::Ready
        | WatcherState::Running
        | WatcherState::WaitRecover
        | WatcherState::Stopping
        | WatcherState::Stopped
        | WatcherState::Killed
        | WatcherState::Crashed => StatusCode::OK,
    };
    let reply = StatusReply {
        state: status.state.as_str(),
        is_running: status.state.is_running(),
        watcher_id: status.watcher_id,
        uptime: duration_text(status.uptime),
        last_update: Timestamp(status.last_update),
    };
    (code, Json(reply))
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
