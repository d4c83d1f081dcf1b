//! The routes that tell whether the host is alive and whether it can start programs.

use axum::{Json, extract::State};
use hersh_journal::JournalError;
use hersh_wire::{Code, Health, Problem};

use super::problem::Failure;
use crate::host::{Host, ReadinessError};

/// Whether the host is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "host",
    security(()),
    responses((status = 200, description = "It is", body = Health)),
)]
pub(super) async fn healthz() -> Json<Health> {
    Json(health("ok"))
}

/// Whether the host can start programs: there is space, the journal can be written, the engine answers.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "host",
    security(()),
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 500, description = "The journal can't be written", body = Problem),
        (status = 503, description = "The container engine can't start programs", body = Problem),
        (status = 507, description = "A disk is nearly full", body = Problem),
    ),
)]
pub(super) async fn readyz(State(host): State<Host>) -> Result<Json<Health>, Failure> {
    host.check_ready()
        .await
        .map_err(|error| not_ready(&error))?;
    Ok(Json(health("ok")))
}

/// Returns the failure that says why the host is not ready. Anybody may ask, so the names of folders and
/// what engine and journal said go to the log only.
fn not_ready(error: &ReadinessError) -> Failure {
    tracing::debug!(%error, "not ready");
    match error {
        ReadinessError::Engine(_) => Failure::new(
            Code::EngineUnavailable,
            "the container engine can't start programs; the host's log and 'hersh doctor' say why",
        ),
        ReadinessError::Space(error) => Failure::new(
            Code::StorageFull,
            format!("a disk is nearly full: {}", error.amounts()),
        ),
        ReadinessError::Journal(JournalError::Full) => Failure::new(
            Code::StorageFull,
            "the disk that holds the journal is full: only what frees room is taken",
        ),
        ReadinessError::Journal(_) => Failure::new(
            Code::Internal,
            "the journal can't be written; the host's log says why",
        ),
    }
}

fn health(status: &str) -> Health {
    Health {
        status: status.into(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}
