//! How the recording of runs goes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::NoQuery;
use super::reply::{ErrorReply, Timestamp};
use super::state::Api;
use crate::base::sync::locked;
use crate::shared::Shared;

#[derive(Serialize, ToSchema)]
pub(super) struct JournalReply {
    journal: JournalShown,
    timestamp: Timestamp,
}

/// The journal; all zero when there is none.
#[derive(Serialize, Default, ToSchema)]
pub(super) struct JournalShown {
    /// Whether runs are recorded.
    pub(super) recording: bool,
    /// Runs recorded since the start.
    pub(super) runs: u64,
    /// Bytes recorded since the start.
    pub(super) bytes: u64,
    /// Parts on disk.
    parts: usize,
    /// Why nothing more is recorded, if something failed.
    error: Option<String>,
}

/// A look at the journal.
pub(super) fn look(shared: &Shared) -> JournalShown {
    let Some(journal) = &shared.journal else {
        return JournalShown::default();
    };
    let state = locked(journal).clone();
    JournalShown {
        recording: state.error.is_none(),
        runs: state.runs,
        bytes: state.bytes,
        parts: state.parts,
        error: state.error,
    }
}

/// How the recording of runs goes.
#[utoipa::path(
    get,
    path = "/watcher/journal",
    responses(
        (status = 200, description = "The journal", body = JournalReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn journal(State(api): State<Arc<Api>>, _: NoQuery) -> Json<JournalReply> {
    Json(JournalReply {
        journal: look(&api.shared),
        timestamp: Timestamp(api.shared.clock.wall()),
    })
}
