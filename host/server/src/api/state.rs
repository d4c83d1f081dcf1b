//! The routes that copy a program's `/state` and replace a file in it.

use std::time::Duration;

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use hersh_storage::STATE_FILE_BYTES_MAX;
use hersh_wire::{Code, Problem};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::{
    extract::{OwnedProgram, Params},
    problem::Failure,
};
use crate::{
    auth::{Caller, audit::Particulars},
    host::Host,
};

/// The most bytes of a copy that are sent at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The longest time that a file may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A consistent copy of `/state` as a tar. A program that runs is paused while the host copies, for
/// at most 20 s; requests to it wait. One that is neither Ready nor at rest is refused.
#[utoipa::path(
    post,
    path = "/programs/{id}/state/copy",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "The copy", body = Vec<u8>, content_type = "application/x-tar"),
        (status = 409, description = "The program is neither Ready nor at rest, or is being copied",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many downloads at once (`queue_full`): try again shortly",
            body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn copy(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    OwnedProgram(entry): OwnedProgram,
) -> Result<Response, Failure> {
    particulars.change("a copy was made");
    let Some(permit) = host
        .permits()
        .downloads
        .take(&caller.user, caller.role.share())
    else {
        let detail = "too many downloads of source and state are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    let id = entry.id();
    let (copy, permit) = host.copy_state(entry, permit).await?;
    let file = tokio::fs::File::from_std(copy.file);
    // The stream holds the permit until the client has taken the last piece, or is gone.
    let pieces = ReaderStream::with_capacity(file, PIECE_BYTES).map(move |piece| {
        let _held = &permit;
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

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FileQuery {
    /// The file, below `/state`.
    path: String,
}

/// Replaces one file of `/state`, of at most 32 MiB, of a program of which nothing runs. The file
/// belongs to the program then.
#[utoipa::path(
    put,
    path = "/programs/{id}/state/file",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"), FileQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "It was replaced"),
        (status = 409, description = "Something of the program runs, or it is being copied: the detail says which",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many uploads at once (`queue_full`): try again shortly",
            body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn put_file(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<FileQuery>,
    request: Request,
) -> Result<StatusCode, Failure> {
    particulars.change(&format!("file {}", query.path));
    let Some(permit) = host
        .permits()
        .uploads
        .take(&caller.user, caller.role.share())
    else {
        let detail = "too many uploads are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    let body = to_bytes(request.into_body(), STATE_FILE_BYTES_MAX);
    let body = tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| {
            let detail = "the file came too slowly; nothing has changed";
            Failure::new(Code::RequestTimeout, detail)
        })?;
    let body = body.map_err(|_| {
        let detail = "the file did not come whole, or is larger than 32 MiB; nothing has changed";
        Failure::new(Code::TooLarge, detail)
    })?;
    host.put_state_file(entry, query.path, body.to_vec(), permit)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
