//! What the watcher holds: watched variables, memoised values, durable context.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Failure, Timestamp};
use super::state::Api;
use crate::inbox::{Shown, Var};

#[derive(Serialize, ToSchema)]
pub(super) struct VarStateReply {
    /// By name: a plain value, or `{value, error}` when something is wrong about it.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    variables: BTreeMap<Arc<str>, Variable>,
    count: usize,
    timestamp: Timestamp,
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

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WatchingReply {
    /// The names, sorted.
    #[schema(value_type = Vec<String>)]
    watched_vars: Vec<Arc<str>>,
    count: usize,
    timestamp: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub(super) struct MemoCacheReply {
    /// By name.
    #[schema(value_type = BTreeMap<String, MemoEntry>)]
    entries: BTreeMap<Arc<str>, MemoEntry>,
    count: usize,
    timestamp: Timestamp,
}

/// A memoised value; the value itself need not be data.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemoEntry {
    /// Its Rust type.
    #[serde(rename = "type")]
    type_name: &'static str,
    computed_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ContextReply {
    /// By key, as the last successful run left it.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    context: BTreeMap<Arc<str>, Box<RawValue>>,
    count: usize,
    timestamp: Timestamp,
}

/// The watched variables, as the last run saw them.
#[utoipa::path(
    get,
    path = "/watcher/varState",
    responses((status = 200, description = "All of them", body = VarStateReply))
)]
pub(super) async fn var_state(State(api): State<Arc<Api>>) -> Json<VarStateReply> {
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
    let variables: BTreeMap<_, _> = api.shared.variables().into_iter().map(shown).collect();
    Json(VarStateReply {
        count: variables.len(),
        variables,
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}

/// The names of the watched variables.
#[utoipa::path(
    get,
    path = "/watcher/watching",
    responses(
        (status = 200, description = "All of them", body = WatchingReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn watching(State(api): State<Arc<Api>>, _: NoQuery) -> Json<WatchingReply> {
    let variables = api.shared.variables();
    let watched_vars: Vec<_> = variables.iter().map(|var| var.name.clone()).collect();
    Json(WatchingReply {
        count: watched_vars.len(),
        watched_vars,
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}

/// The memoised values that are kept.
#[utoipa::path(
    get,
    path = "/watcher/memoCache",
    responses(
        (status = 200, description = "All of them", body = MemoCacheReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn memo_cache(State(api): State<Arc<Api>>, _: NoQuery) -> Json<MemoCacheReply> {
    let infos = api.shared.memos.infos().into_iter();
    let entries: BTreeMap<_, _> = infos
        .map(|(name, info)| {
            let entry = MemoEntry {
                type_name: info.type_name,
                computed_at: Timestamp(info.at),
            };
            (name, entry)
        })
        .collect();
    Json(MemoCacheReply {
        count: entries.len(),
        entries,
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}

/// The durable context, as committed.
#[utoipa::path(
    get,
    path = "/watcher/context",
    responses((status = 200, description = "All keys", body = ContextReply))
)]
pub(super) async fn context(State(api): State<Arc<Api>>) -> Result<Json<ContextReply>, Failure> {
    let mut context = BTreeMap::new();
    for (key, json) in api.shared.committed.values().iter() {
        let value = RawValue::from_string(json.to_string())
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        context.insert(key.clone(), value);
    }
    Ok(Json(ContextReply {
        count: context.len(),
        context,
        timestamp: Timestamp(api.shared.clock.wall()),
    }))
}
