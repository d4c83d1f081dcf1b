//! What a program uses.

use axum::{Json, extract::State};
use hersh_wire::{Code, StatsView};

use super::{extract::Owned, problem::Failure};
use crate::{convert, host::Host};

/// What a running program uses now.
#[utoipa::path(
    get,
    path = "/programs/{id}/stats",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "One reading", body = StatsView)),
)]
pub(super) async fn show(
    State(host): State<Host>,
    Owned(entry): Owned,
) -> Result<Json<StatsView>, Failure> {
    let id = entry.id();
    match host.runtime().stats(&id).await? {
        Some(stats) => Ok(Json(convert::stats_view(&entry, &stats, host.now_ms()))),
        None => {
            let state = entry.state_name();
            let detail = format!("{id} is {state}, so it uses nothing; start it first");
            Err(Failure::new(Code::NotReady, detail).in_state(state))
        }
    }
}
