//! The signals that wait, and those that were consumed last.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Timestamp, kind_name};
use super::state::Api;
use crate::shared::{RECENT_LIMIT, Signal, SignalKind};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignalsReply {
    /// Variables with an update that waits.
    var_sig_count: usize,
    /// Messages that wait.
    user_sig_count: usize,
    /// Wishes to end that wait.
    watcher_sig_count: usize,
    /// All that wait.
    total_pending: usize,
    /// Up to 30, oldest first: those consumed last, then the messages that are next.
    recent_signals: Vec<SignalShown>,
    timestamp: Timestamp,
}

/// A signal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignalShown {
    /// `var`, `user`, `effect`, `timer` or `watcher`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The message, the name of the variable or timer, the effect with its id, or what the lifecycle signal says.
    #[schema(value_type = String)]
    content: Arc<str>,
    /// When it came in (messages) or was consumed (others).
    created_at: Timestamp,
}

impl From<Signal> for SignalShown {
    fn from(signal: Signal) -> Self {
        Self {
            kind: kind_name(signal.kind),
            content: signal.content,
            created_at: Timestamp::from_ms(signal.at_ms),
        }
    }
}

/// The signals that wait, and the recent ones.
#[utoipa::path(
    get,
    path = "/watcher/signals",
    responses(
        (status = 200, description = "A look that disturbs nothing", body = SignalsReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn signals(State(api): State<Arc<Api>>, _: NoQuery) -> Json<SignalsReply> {
    let waiting = api.shared.inbox.peek(RECENT_LIMIT);
    let mut recent = api.shared.recent.signals();
    recent.extend(waiting.oldest.into_iter().map(|message| Signal {
        kind: SignalKind::User,
        content: message.content,
        at_ms: message.at_ms,
    }));
    let shown = recent.split_off(recent.len().saturating_sub(RECENT_LIMIT));
    Json(SignalsReply {
        var_sig_count: waiting.variables,
        user_sig_count: waiting.messages,
        watcher_sig_count: waiting.ends,
        total_pending: waiting.variables + waiting.messages + waiting.ends,
        recent_signals: shown.into_iter().map(SignalShown::from).collect(),
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}
