//! The log, by kind. Dashboards ask for the log most, so its answer is written into bytes in one
//! pass, and kept until there is a newer line.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use bytes::Bytes;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::kept_logs::Request;
use super::query::{bad, pairs, shown};
use super::reply::{ErrorReply, Failure, Timestamp};
use super::state::Api;
use crate::LOG_LINE_LIMIT;
use crate::base::sync::locked;
use crate::shared::{LogKind, LogLine, Shared};

/// Lines of each kind, unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Longest answer that is kept, bytes.
const KEPT_LIMIT_BYTES: usize = 1024 * 1024;

/// What to show. Only for the document: errors of queries are sentences of our own.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its fields describe the query")]
struct LogsQuery {
    /// Which kind: all (the default), effect, reduce, watch_error, context, state_fault or
    /// effect_result.
    r#type: Option<String>,
    /// Most lines of each kind, 1 to 1,000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Each list has the newest lines, oldest first; one that was not asked for is empty.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogsReply {
    /// What the managed function logged.
    effect_logs: Vec<Line>,
    /// The watcher's life.
    reduce_logs: Vec<Line>,
    /// Sources of watched variables that failed or ended.
    watch_error_logs: Vec<Line>,
    /// Changes of the durable context.
    context_logs: Vec<Line>,
    /// Failed runs, and recoveries.
    state_fault_logs: Vec<Line>,
    /// How each run ended.
    effect_results: Vec<Line>,
}

/// A line of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct Line {
    /// Grows from line to line over all kinds.
    id: u64,
    time: Timestamp,
    #[schema(value_type = String)]
    level: crate::Level,
    #[schema(value_type = String)]
    kind: LogKind,
    /// The run it belongs to, 0 for none.
    run: u64,
    #[schema(value_type = String)]
    message: Arc<str>,
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        Self {
            id: line.id,
            time: Timestamp(line.time),
            level: line.level,
            kind: line.kind,
            run: line.run,
            message: line.message,
        }
    }
}

/// The newest lines of the log.
#[utoipa::path(
    get,
    path = "/watcher/logs",
    params(LogsQuery),
    responses(
        (status = 200, description = "All six lists", body = LogsReply),
        (status = 400, description = "Unknown type or parameter, bad limit", body = ErrorReply),
    )
)]
pub(super) async fn logs(
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<impl IntoResponse, Failure> {
    let mut request = Request {
        kind: None,
        limit: DEFAULT_LIMIT,
    };
    for (key, value) in pairs(&uri, &["type", "limit"])? {
        match key.as_str() {
            "type" => request.kind = kind_of(&value)?,
            _ => request.limit = limit_of(&value)?,
        }
    }
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((headers, answer(&api, request)?))
}

fn answer(api: &Api, request: Request) -> Result<Bytes, Failure> {
    // The count is read before the lines: a line that comes in meanwhile makes this answer old.
    let written = api.shared.log.written();
    let mut capacity = 0;
    if let Some((kept_request, kept_written, bytes)) = &*locked(&api.logs.0) {
        if (*kept_request, *kept_written) == (request, written) {
            return Ok(bytes.clone());
        }
        capacity = bytes.len() + bytes.len() / 8;
    }
    let mut out = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut out, &collect(&api.shared, request))
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let bytes = Bytes::from(out);
    if bytes.len() <= KEPT_LIMIT_BYTES {
        *locked(&api.logs.0) = Some((request, written, bytes.clone()));
    }
    Ok(bytes)
}

fn collect(shared: &Shared, request: Request) -> LogsReply {
    let lines = |kind| {
        if request.kind.is_some_and(|wanted| wanted != kind) {
            return Vec::new();
        }
        let lines = shared.log.newest(kind, request.limit).into_iter();
        lines.map(Line::from).collect()
    };
    LogsReply {
        effect_logs: lines(LogKind::Effect),
        reduce_logs: lines(LogKind::Reduce),
        watch_error_logs: lines(LogKind::WatchError),
        context_logs: lines(LogKind::Context),
        state_fault_logs: lines(LogKind::StateFault),
        effect_results: lines(LogKind::EffectResult),
    }
}

/// Returns the kind that is asked for, `None` for all.
fn kind_of(text: &str) -> Result<Option<LogKind>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let kind = LogKind::ALL.into_iter().find(|kind| name(*kind) == text);
    kind.map(Some).ok_or_else(|| {
        let names = LogKind::ALL.map(name).join(", ");
        bad(format!("the type is {}: give all, {names}", shown(text)))
    })
}

fn limit_of(text: &str) -> Result<usize, Failure> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LOG_LINE_LIMIT).contains(limit))
        .ok_or_else(|| {
            let text = shown(text);
            bad(format!("the limit is {text}: give 1 to {LOG_LINE_LIMIT}"))
        })
}

fn name(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Effect => "effect",
        LogKind::Reduce => "reduce",
        LogKind::WatchError => "watch_error",
        LogKind::Context => "context",
        LogKind::StateFault => "state_fault",
        LogKind::EffectResult => "effect_result",
    }
}
