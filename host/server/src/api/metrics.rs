//! The route that tells Prometheus what the host measures.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{gather::gather, problem::Failure};
use crate::{host::Host, metrics};

/// Programs, events, effects, journal, requests, engine, disk and memory, as Prometheus reads them.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "host",
    security(("bearer" = ["read", "host"])),
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")),
)]
pub(super) async fn show(State(host): State<Host>) -> Result<Response, Failure> {
    let snapshot = gather(&host).await;
    let text = host
        .metrics()
        .text(snapshot)
        .map_err(|error| Failure::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
