//! The routes that show, start, stop and remove programs.

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use hersh_program::{Program, ProgramId, UserId};
use hersh_wire::{Code, Problem, ProgramList, ProgramView, ReceiptView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Limit, OwnedProgram, Params, Wait},
    problem::Failure,
    view,
};
use crate::{
    auth::{Caller, audit::Particulars},
    host::{Command, CommandError, Host, Outcome, ProgramEntry},
    words,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only programs in this state, such as `Ready`.
    state: Option<String>,
    /// Only this user's.
    owner: Option<String>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    /// At most this many, 1 to 1,000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The programs that are there for the caller, by id.
#[utoipa::path(
    get,
    path = "/programs",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(ListQuery),
    responses((status = 200, description = "One page", body = ProgramList)),
)]
pub(super) async fn list(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ListQuery>,
) -> Result<Json<ProgramList>, Failure> {
    let limit = Limit::of(query.limit)?;
    let bad = |detail: String| Failure::new(Code::BadRequest, detail);
    let after = query.cursor.as_deref().map(ProgramId::parse).transpose();
    let after = after.map_err(|_| bad("cursor is not from here".into()))?;
    let owner = query.owner.as_deref().map(UserId::parse).transpose();
    let owner = owner.map_err(|error| bad(error.to_string()))?;
    let state = query.state.as_deref().map(known_state).transpose()?;
    let entries = host.registry().page(after.as_ref(), limit + 1, |entry| {
        caller.sees(entry.owner())
            && owner.as_ref().is_none_or(|owner| entry.owner() == owner)
            && state.is_none_or(|state| entry.state_name() == state)
    });
    let more = entries.len() > limit;
    let programs: Vec<ProgramView> = entries
        .iter()
        .take(limit)
        .map(|entry| view::program_view(entry, host.now_ms()))
        .collect();
    let last = programs.last().map(|program| program.program_id.clone());
    Ok(Json(ProgramList {
        programs,
        next_cursor: last.filter(|_| more),
    }))
}

fn known_state(text: &str) -> Result<&'static str, Failure> {
    let known = words::STATE_NAMES.iter().find(|name| **name == text);
    known.copied().ok_or_else(|| {
        let names = words::STATE_NAMES.join(", ");
        Failure::new(
            Code::BadRequest,
            format!("state = {text:?}: use one of {names}"),
        )
    })
}

/// One program.
#[utoipa::path(
    get,
    path = "/programs/{id}",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses((status = 200, description = "As it stands", body = ProgramView)),
)]
pub(super) async fn show(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    OwnedProgram(entry): OwnedProgram,
    Params(wait): Params<Wait>,
) -> Result<Json<ProgramView>, Failure> {
    if let Some(hold) = wait.hold(&host, &caller)? {
        host.settle(&entry, hold.time).await?;
    }
    let mut view = view::program_view(&entry, host.now_ms());
    view.last_probe = host.probes().last(&entry.id());
    Ok(Json(view))
}

/// Builds what is not built, and starts.
#[utoipa::path(
    post,
    path = "/programs/{id}/start",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses(
        (status = 200, description = "It was so already, or has been waited for", body = ProgramView),
        (status = 202, description = "It is durable and will be carried out", body = ProgramView),
    ),
)]
pub(super) async fn start(
    host: State<Host>,
    caller: Extension<Caller>,
    particulars: Extension<Particulars>,
    program: OwnedProgram,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, (caller, particulars), program, wait, Command::Start).await
}

/// Stops; what it stored stays.
#[utoipa::path(
    post,
    path = "/programs/{id}/stop",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses(
        (status = 200, description = "It was so already, or has been waited for", body = ProgramView),
        (status = 202, description = "It is durable and will be carried out", body = ProgramView),
    ),
)]
pub(super) async fn stop(
    host: State<Host>,
    caller: Extension<Caller>,
    particulars: Extension<Particulars>,
    program: OwnedProgram,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, (caller, particulars), program, wait, Command::Stop).await
}

/// Stops and starts again. If another revision is wanted, that one is built first, and the one that runs goes on
/// until then.
#[utoipa::path(
    post,
    path = "/programs/{id}/restart",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses(
        (status = 200, description = "It was so already, or has been waited for", body = ProgramView),
        (status = 202, description = "It is durable and will be carried out", body = ProgramView),
    ),
)]
pub(super) async fn restart(
    host: State<Host>,
    caller: Extension<Caller>,
    particulars: Extension<Particulars>,
    program: OwnedProgram,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, (caller, particulars), program, wait, Command::Restart).await
}

/// Carries out a command. Answers 202 with the program's state once the command is durable; answers 200
/// if the command was fulfilled already or has been waited for.
pub(super) async fn command(
    State(host): State<Host>,
    (Extension(caller), Extension(particulars)): (Extension<Caller>, Extension<Particulars>),
    OwnedProgram(entry): OwnedProgram,
    Params(wait): Params<Wait>,
    command: Command,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    let hold = wait.hold(&host, &caller)?;
    let wait = hold.as_ref().map(|hold| hold.time);
    particulars.change(&described(&entry, command));
    let outcome = host.command(&entry, command, wait).await?;
    if outcome == Outcome::Already {
        particulars.changes_nothing();
    }
    let status = match (outcome, wait) {
        (Outcome::Accepted, None) => StatusCode::ACCEPTED,
        (Outcome::Accepted, Some(_)) | (Outcome::Already, _) => StatusCode::OK,
    };
    Ok((status, Json(view::program_view(&entry, host.now_ms()))))
}

/// Returns what the audit log says of a command.
fn described(entry: &ProgramEntry, command: Command) -> String {
    let state = entry.state_name();
    let current = |program: &Program| program.current_revision();
    match (command, entry.supervisor().with_state(current)) {
        (Command::RollBack(to), Some(from)) => {
            format!("it was {state}, revision {from} → {to}")
        }
        (Command::RollBack(to), None) => format!("it was {state}, revision → {to}"),
        (
            Command::Start | Command::Stop | Command::Restart | Command::Build | Command::Delete,
            _any,
        ) => {
            format!("it was {state}")
        }
    }
}

/// Stops and removes a program with its source, logs and state.
#[utoipa::path(
    delete,
    path = "/programs/{id}",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), Wait),
    responses(
        (status = 202, description = "It is durable and will be carried out"),
        (status = 204, description = "It is gone"),
        (status = 409, description = "It could not be removed; the detail says why",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The container engine does not answer, so it is not removed", body = Problem),
    ),
)]
pub(super) async fn remove(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    OwnedProgram(entry): OwnedProgram,
    Params(wait): Params<Wait>,
) -> Result<StatusCode, Failure> {
    let hold = wait.hold(&host, &caller)?;
    let wait = hold.as_ref().map(|hold| hold.time);
    let owner = entry.owner();
    particulars.change(&format!("it was {}, of {owner}", entry.state_name()));
    match host.command(&entry, Command::Delete, wait).await {
        // After a wait, the program is Removed; any other end would be an error.
        Ok(Outcome::Accepted | Outcome::Already) => Ok(match wait {
            Some(_) => StatusCode::NO_CONTENT,
            None => StatusCode::ACCEPTED,
        }),
        // The program was removed while this call asked for it, so the caller has what it wanted.
        Err(CommandError::NotFound(_)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// What the last start proved about the sandbox.
#[utoipa::path(
    get,
    path = "/programs/{id}/receipt",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "The receipt", body = ReceiptView)),
)]
pub(super) async fn receipt(
    State(host): State<Host>,
    OwnedProgram(entry): OwnedProgram,
) -> Result<Json<ReceiptView>, Failure> {
    let id = entry.id();
    let receipt = {
        let id = id.clone();
        host.blocking(move |host| host.storage().read_receipt(&id))
            .await
            .map_err(|error| Failure::internal(&error))??
    };
    receipt
        .as_ref()
        .map(view::receipt_view)
        .map(Json)
        .ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("{id} was never started, so there is no receipt"),
            )
        })
}

/// How the program is confined, as a compose file: without the values that its manifest gives to
/// environment variables, and without paths of the host's machine.
#[utoipa::path(
    get,
    path = "/programs/{id}/compose",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "The file", body = Object, content_type = "application/yaml")),
)]
pub(super) async fn compose(
    State(host): State<Host>,
    OwnedProgram(entry): OwnedProgram,
) -> Result<impl IntoResponse, Failure> {
    let text = host.compose_file(&entry).ok_or_else(|| {
        let detail = format!(
            "{} was not built yet, so there is nothing to run",
            entry.id()
        );
        Failure::new(Code::NotFound, detail)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text))
}
