//! The route that shows what a program uses.

use axum::{Json, extract::State};
use hersh_program::Program;
use hersh_wire::{Code, StatsView};

use super::{extract::OwnedProgram, problem::Failure, view};
use crate::{host::Host, words};

/// What a running program uses, as of at most a second ago.
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
    OwnedProgram(entry): OwnedProgram,
) -> Result<Json<StatsView>, Failure> {
    let instance = entry.supervisor().with_state(Program::ready_instance);
    let reading = match &instance {
        Some(instance) => host.instance_stats(&entry, instance).await?,
        None => None,
    };
    reading
        .map(|(stats, at_ms)| Json(view::stats_view(&entry, &stats, at_ms)))
        .ok_or_else(|| {
            let detail = entry.supervisor().with_state(words::not_ready);
            Failure::new(Code::NotReady, detail).in_state(entry.state_name())
        })
}
