//! The routes that list a program's revisions, build the newest one and go back to one of them.

use axum::{Extension, Json, extract::State, http::StatusCode};
use hersh_program::RevisionNumber;
use hersh_wire::{Problem, ProgramView, RevisionList, Span};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{OwnedProgram, Params, Wait},
    problem::Failure,
    programs::command,
    view,
};
use crate::{
    auth::{Caller, audit::Particulars},
    host::{Command, Host},
};

/// What was deployed under the program's name, as far as it is kept: the newest ten, and those that run or may
/// have to.
#[utoipa::path(
    get,
    path = "/programs/{id}/revisions",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "Newest first", body = RevisionList)),
)]
pub(super) async fn list(
    State(host): State<Host>,
    OwnedProgram(entry): OwnedProgram,
) -> Json<RevisionList> {
    let now_ms = host.now_ms();
    let list = |program: &_| view::revision_list(program, now_ms);
    Json(entry.supervisor().with_state(list))
}

/// Builds the newest revision and does not start it: the next start or restart does. What runs goes on.
#[utoipa::path(
    post,
    path = "/programs/{id}/build",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses(
        (status = 200, description = "It is being built or runs already, or has been waited for", body = ProgramView),
        (status = 202, description = "It is durable and will be carried out", body = ProgramView),
        (status = 409, description = "It is being removed, or something else has to end first",
            body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn build(
    host: State<Host>,
    caller: Extension<Caller>,
    particulars: Extension<Particulars>,
    program: OwnedProgram,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, (caller, particulars), program, wait, Command::Build).await
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RollBackQuery {
    /// The revision to start; if left out, the one that ran before the last rollout, or else the newest one
    /// that ran well.
    #[param(minimum = 1)]
    revision: Option<u64>,
    /// Hold the answer until the program has settled, at most this long (`30s`, at most `1h`).
    #[param(value_type = Option<String>)]
    wait: Option<Span>,
}

/// Starts an earlier revision in place of the one that runs, which goes on until the other one is built.
#[utoipa::path(
    post,
    path = "/programs/{id}/rollback",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), RollBackQuery),
    responses(
        (status = 200, description = "It was so already, or has been waited for", body = ProgramView),
        (status = 202, description = "It is durable and will be carried out", body = ProgramView),
        (status = 404, description = "No such revision is kept",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is being removed, or has no earlier revision that ran well",
            body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn roll_back(
    host: State<Host>,
    caller: Extension<Caller>,
    particulars: Extension<Particulars>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<RollBackQuery>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    let asked = query.revision.map(RevisionNumber);
    let target = host.roll_back_target(&entry, asked)?;
    let wait = Params(Wait::of(query.wait));
    let program = OwnedProgram(entry);
    let command_to = Command::RollBack(target);
    command(host, (caller, particulars), program, wait, command_to).await
}
