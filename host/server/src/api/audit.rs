//! The route that shows admins who changed what.

use axum::{Json, extract::State};
use hersh_journal::AuditRow;
use hersh_wire::{AuditList, AuditView, Code};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Limit, Params},
    problem::Failure,
};
use crate::host::Host;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    /// At most this many, 1 to 1,000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The changes of all users, newest first.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "host",
    security(("bearer" = ["read", "host"])),
    params(AuditQuery),
    responses((status = 200, description = "One page", body = AuditList)),
)]
pub(super) async fn list(
    State(host): State<Host>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditList>, Failure> {
    let limit = Limit::of(query.limit)?;
    let before = query.cursor.as_deref().map(str::parse).transpose();
    let before = before.map_err(|_| Failure::new(Code::BadRequest, "cursor is not from here"))?;
    let rows = host
        .blocking(move |host| host.journal().audit_page(before, limit + 1))
        .await
        .map_err(|error| Failure::internal(&error))??;
    let more = rows.len() > limit;
    let changes: Vec<AuditView> = rows.into_iter().take(limit).map(view).collect();
    let last = changes.last().map(|change| change.seq.to_string());
    Ok(Json(AuditList {
        changes,
        next_cursor: last.filter(|_| more),
    }))
}

fn view(row: AuditRow) -> AuditView {
    AuditView {
        seq: row.seq,
        at_ms: row.at_ms,
        user_id: row.user,
        token_id: row.token,
        peer: row.peer,
        action: row.action,
        target: row.target,
        object: row.object,
        change: row.change,
        count: row.count,
        first_at_ms: row.first_ms,
        status: row.status,
    }
}
