//! Showing and steering programs.

use axum::{Json, extract::State, http::StatusCode};
use hersh_wire::{Code, EventView, ProgramList, ProgramView, ReceiptView};
use serde::Deserialize;

use super::{
    extract::{Id, Params, Wait},
    problem::Failure,
};
use crate::{
    convert,
    host::{Command, CommandError, Host, Outcome},
};

/// Events of one reply.
const EVENTS_MAX: usize = 1_000;

pub(super) async fn list(State(host): State<Host>) -> Json<ProgramList> {
    let programs = host
        .list()
        .iter()
        .map(|entry| convert::program_view(entry))
        .collect();
    Json(ProgramList { programs })
}

pub(super) async fn show(
    State(host): State<Host>,
    Id(id): Id,
    Params(wait): Params<Wait>,
) -> Result<Json<ProgramView>, Failure> {
    let entry = host.get(&id)?;
    if let Some(wait) = wait.duration()? {
        host.settle(&entry, wait).await?;
    }
    Ok(Json(convert::program_view(&entry)))
}

pub(super) async fn start(
    host: State<Host>,
    id: Id,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, id, wait, Command::Start).await
}

pub(super) async fn stop(
    host: State<Host>,
    id: Id,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, id, wait, Command::Stop).await
}

pub(super) async fn restart(
    host: State<Host>,
    id: Id,
    wait: Params<Wait>,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    command(host, id, wait, Command::Restart).await
}

/// 202 with the state as it stands once the command is durable; 200 if it was fulfilled already
/// or has been waited for.
async fn command(
    State(host): State<Host>,
    Id(id): Id,
    Params(wait): Params<Wait>,
    command: Command,
) -> Result<(StatusCode, Json<ProgramView>), Failure> {
    let wait = wait.duration()?;
    let entry = host.get(&id)?;
    let outcome = host.command(&entry, command, wait).await?;
    let status = match (outcome, wait) {
        (Outcome::Accepted, None) => StatusCode::ACCEPTED,
        (Outcome::Accepted, Some(_)) | (Outcome::Already, _) => StatusCode::OK,
    };
    Ok((status, Json(convert::program_view(&entry))))
}

pub(super) async fn remove(
    State(host): State<Host>,
    Id(id): Id,
    Params(wait): Params<Wait>,
) -> Result<StatusCode, Failure> {
    let wait = wait.duration()?;
    let entry = host.get(&id)?;
    match host.command(&entry, Command::Delete, wait).await {
        Ok(Outcome::Accepted | Outcome::Already) => Ok(match wait {
            Some(_) => StatusCode::NO_CONTENT,
            None => StatusCode::ACCEPTED,
        }),
        // It went away while we asked: what was wished is done.
        Err(CommandError::NotFound(_)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// `?after=` a sequence number, `?limit=` at most 1,000.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn events(
    State(host): State<Host>,
    Id(id): Id,
    Params(query): Params<EventsQuery>,
) -> Result<Json<Vec<EventView>>, Failure> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Failure::new(
            Code::BadRequest,
            format!("limit = {limit}: use 1 to {EVENTS_MAX}"),
        ));
    }
    let entry = host.get(&id)?;
    let after = query.after.unwrap_or(0);
    let records = host
        .blocking(move |host| host.journal().records(entry.row(), after, limit))
        .await
        .map_err(|error| Failure::internal(&error))??;
    records
        .iter()
        .map(convert::event_view)
        .collect::<Result<_, _>>()
        .map(Json)
        .map_err(|error| Failure::internal(&error))
}

pub(super) async fn receipt(
    State(host): State<Host>,
    Id(id): Id,
) -> Result<Json<ReceiptView>, Failure> {
    host.get(&id)?;
    let receipt = {
        let id = id.clone();
        host.blocking(move |host| host.storage().read_receipt(&id))
            .await
            .map_err(|error| Failure::internal(&error))??
    };
    receipt
        .as_ref()
        .map(convert::receipt_view)
        .map(Json)
        .ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("{id} was never started, so there is no receipt"),
            )
        })
}
