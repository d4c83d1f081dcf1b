//! What a program keeps in `/state`, as a copy.

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use hersh_wire::Code;
use tokio_util::io::ReaderStream;

use super::{extract::Owned, problem::Failure};
use crate::{auth::Caller, host::Host};

/// Bytes of one piece on its way out.
const PIECE_BYTES: usize = 64 * 1024;

/// A consistent copy of `/state` as a tar. A program that runs is paused while the host copies, for
/// at most 20 s; requests to it wait. One that is neither Ready nor at rest is refused.
#[utoipa::path(
    post,
    path = "/programs/{id}/state/copy",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "The copy", body = Vec<u8>, content_type = "application/x-tar")),
)]
pub(super) async fn copy(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Owned(entry): Owned,
) -> Result<Response, Failure> {
    let Some(seat) = host.seats().downloads.take(&caller.user) else {
        let detail = "too many downloads of source and state are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    let id = entry.id();
    let copy = host.copy_state(entry).await?;
    let file = tokio::fs::File::from_std(copy.file);
    // The seat is free again when the last piece is taken, or the client is gone.
    let pieces = ReaderStream::with_capacity(file, PIECE_BYTES).map(move |piece| {
        let _held = &seat;
        piece
    });
    let mut answer = Body::from_stream(pieces).into_response();
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("application/x-tar");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(copy.bytes));
    let name = format!("attachment; filename=\"{id}-state.tar\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}
