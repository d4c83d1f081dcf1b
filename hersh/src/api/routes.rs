//! The routes and their JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reply::Failure;
use crate::MESSAGE_LIMIT_BYTES;
use crate::clock::{duration_text, rfc3339};
use crate::shared::Shared;
use crate::var::{Shown, Var};

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// All routes of one watcher.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/watcher/status", get(status))
        .route("/watcher/varState", get(var_state))
        .route("/watcher/context", get(context))
        .route("/watcher/message", post(message))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusReply {
    state: &'static str,
    is_running: bool,
    #[serde(rename = "watcherID")]
    watcher_id: Arc<str>,
    uptime: String,
    last_update: String,
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<StatusReply> {
    let status = shared.status();
    Json(StatusReply {
        state: status.state.as_str(),
        is_running: status.state.is_running(),
        watcher_id: status.watcher_id,
        uptime: duration_text(status.uptime),
        last_update: rfc3339(status.last_update),
    })
}

#[derive(Serialize)]
struct VarStateReply {
    variables: BTreeMap<Arc<str>, Variable>,
    count: usize,
    timestamp: String,
}

/// A plain value, or a value with what is wrong about it.
#[derive(Serialize)]
#[serde(untagged)]
enum Variable {
    Good(serde_json::Value),
    Faulty {
        value: Option<serde_json::Value>,
        error: Option<String>,
    },
}

async fn var_state(State(shared): State<Arc<Shared>>) -> Json<VarStateReply> {
    let shown = |var: Arc<Var>| {
        let variable = match var.show() {
            Shown {
                value: Some(value),
                error: None,
            } => Variable::Good(value),
            Shown { value, error } => Variable::Faulty { value, error },
        };
        (var.name.clone(), variable)
    };
    let variables: BTreeMap<_, _> = shared.variables().into_iter().map(shown).collect();
    Json(VarStateReply {
        count: variables.len(),
        variables,
        timestamp: rfc3339(shared.clock.wall()),
    })
}

#[derive(Serialize)]
struct ContextReply {
    context: BTreeMap<Arc<str>, Box<RawValue>>,
    count: usize,
    timestamp: String,
}

async fn context(State(shared): State<Arc<Shared>>) -> Result<Json<ContextReply>, Failure> {
    let mut context = BTreeMap::new();
    for (key, json) in shared.committed.values().iter() {
        let value = RawValue::from_string(json.to_string())
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        context.insert(key.clone(), value);
    }
    Ok(Json(ContextReply {
        count: context.len(),
        context,
        timestamp: rfc3339(shared.clock.wall()),
    }))
}

#[derive(Deserialize)]
struct MessageRequest {
    content: String,
}

#[derive(Serialize)]
struct MessageReply {
    status: &'static str,
}

async fn message(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<MessageReply>, Failure> {
    let body = read_body(request.into_body()).await?;
    let request: MessageRequest = serde_json::from_slice(&body).map_err(|error| {
        let text = format!("the body is no {{\"content\": \"...\"}}: {error}");
        Failure::new(StatusCode::BAD_REQUEST, text)
    })?;
    let at_ms = shared.clock.now_ms();
    shared.inbox.push_message(request.content.into(), at_ms)?;
    Ok(Json(MessageReply {
        status: "message sent",
    }))
}

/// The whole body, if it is short enough and comes soon enough.
async fn read_body(body: Body) -> Result<axum::body::Bytes, Failure> {
    let limited = Limited::new(body, MESSAGE_LIMIT_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {MESSAGE_LIMIT_BYTES} bytes"),
        )),
        Ok(Err(error)) => Err(Failure::new(StatusCode::BAD_REQUEST, error)),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {BODY_TIMEOUT:?}"),
        )),
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
