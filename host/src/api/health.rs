//! Whether the host lives and can work.

use axum::{Json, extract::State};
use hersh_wire::{Code, Health};

use super::problem::Failure;
use crate::host::Host;

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

/// Whether the host can start programs.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "host",
    security(()),
    responses((status = 200, description = "It can", body = Health)),
)]
pub(super) async fn readyz(State(host): State<Host>) -> Result<Json<Health>, Failure> {
    host.check_engine().await.map_err(|error| {
        // Anybody may ask, so what the engine said is for the log.
        tracing::debug!(%error, "not ready");
        let detail =
            "the container engine can't start programs; the host's log and 'hersh doctor' say why";
        Failure::new(Code::EngineUnavailable, detail)
    })?;
    Ok(Json(health("ok")))
}

fn health(status: &str) -> Health {
    Health {
        status: status.into(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}
