//! The effects that runs asked for and whose outcomes no run has taken in.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Failure, Timestamp};
use super::state::Api;
use crate::EffectId;
use crate::base::sync::locked;
use crate::store::{OpenEffect, Progress, SettledResult};

/// Most effects that are shown.
const SHOWN: usize = 100;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EffectsReply {
    /// Those that were asked for and whose outcomes no run has taken in.
    open: usize,
    /// Those of them whose outcomes wait for their runs.
    settled: usize,
    /// The 100 oldest of them.
    effects: Vec<EffectShown>,
    timestamp: Timestamp,
}

/// An effect.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EffectShown {
    /// The id that the other side is told.
    id: String,
    /// The name that its function is registered under.
    #[schema(value_type = String)]
    effect: Arc<str>,
    /// The key of those that are acted on one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<Arc<str>>,
    /// `waiting` (it is to be acted on, or is being), `begun` (the one attempt is being made), or what came of
    /// it: `done`, `failed`, `unknown`, `cancelled`.
    state: &'static str,
    #[schema(value_type = serde_json::Value)]
    input: Box<RawValue>,
    asked_at: Timestamp,
}

/// The open effects: asked for, and their outcomes not taken in.
#[utoipa::path(
    get,
    path = "/watcher/effects",
    responses(
        (status = 200, description = "How many there are, and the oldest", body = EffectsReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn effects(
    State(api): State<Arc<Api>>,
    _: NoQuery,
) -> Result<Json<EffectsReply>, Failure> {
    let ledger = locked(&api.shared.ledger);
    let (open, settled) = (ledger.size().effects, ledger.settled());
    let oldest = ledger.open().take(SHOWN);
    // Cloned, which copies no text: the engine must not wait for megabytes of JSON.
    let oldest: Vec<(EffectId, OpenEffect)> = oldest
        .map(|(number, effect)| (effect.id(number), effect.clone()))
        .collect();
    drop(ledger);
    let effects = oldest.iter().map(|(id, effect)| shown(*id, effect));
    Ok(Json(EffectsReply {
        open,
        settled,
        effects: effects.collect::<Result<_, _>>()?,
        timestamp: Timestamp(api.shared.clock.wall()),
    }))
}

fn shown(id: EffectId, effect: &OpenEffect) -> Result<EffectShown, Failure> {
    let input = RawValue::from_string(effect.input.to_string())
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let state = match &effect.progress {
        Progress::Waiting => "waiting",
        Progress::Begun => "begun",
        Progress::Settled(settlement) => match &settlement.result {
            SettledResult::Done(_) => "done",
            SettledResult::Failed(_) => "failed",
            SettledResult::Unknown(_) => "unknown",
            SettledResult::Cancelled => "cancelled",
        },
    };
    Ok(EffectShown {
        id: id.to_string(),
        effect: effect.effect.clone(),
        key: effect.key.clone(),
        state,
        input,
        asked_at: Timestamp(UNIX_EPOCH + Duration::from_millis(effect.asked_at_ms)),
    })
}
