//! Taking source in: JSON, or a tar stream that is never held in memory.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::TryStreamExt;
use hersh_program::{Manifest, ProgramId};
use hersh_wire::{Code, CreateProgram, ProgramCreated};
use serde::Deserialize;
use tokio_stream::StreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    extract::{Id, Params},
    problem::Failure,
};
use crate::{
    convert,
    host::{Entry, Host},
    storage::{SourceLimits, StagedSource},
};

/// A sender that stays silent for longer than this is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// `?name=`, for archives; JSON requests carry it inside.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateQuery {
    name: Option<String>,
}

/// Source that is checked and staged, with its manifest.
struct Taken {
    staged: StagedSource,
    manifest: Manifest,
    name: Option<String>,
}

pub(super) async fn create(
    State(host): State<Host>,
    Params(query): Params<CreateQuery>,
    request: Request,
) -> Result<(StatusCode, Json<ProgramCreated>), Failure> {
    let taken = take(&host, request).await?;
    let id = match query.name.or(taken.name) {
        Some(name) => ProgramId::parse(&name)
            .map_err(|error| Failure::new(Code::BadManifest, error.to_string()))?,
        None => host.new_id().map_err(|error| Failure::internal(&error))?,
    };
    let entry = host.create(id, taken.staged, taken.manifest).await?;
    Ok((StatusCode::CREATED, Json(created(&entry))))
}

pub(super) async fn replace(
    State(host): State<Host>,
    Id(id): Id,
    request: Request,
) -> Result<Json<ProgramCreated>, Failure> {
    let entry = host.get(&id)?;
    let taken = take(&host, request).await?;
    host.replace_source(&entry, taken.staged, taken.manifest)
        .await?;
    Ok(Json(created(&entry)))
}

fn created(entry: &Entry) -> ProgramCreated {
    let view = convert::program_view(entry);
    ProgramCreated {
        program_id: view.program_id,
        build_id: view.build_id,
        state: view.state,
        proxy_url: view.proxy_url,
        created_at_ms: view.created_at_ms,
    }
}

async fn take(host: &Host, request: Request) -> Result<Taken, Failure> {
    let Some(_place) = host.upload() else {
        let detail = "too many uploads are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    match media_type(request.headers()).as_str() {
        "application/json" => take_json(host, request).await,
        "application/x-tar"
        | "application/gzip"
        | "application/zstd"
        | "application/octet-stream" => take_archive(host, request.into_body()).await,
        other => Err(Failure::new(
            Code::BadRequest,
            format!(
                "content type {other:?} is not known; send application/json or application/x-tar"
            ),
        )),
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    value
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}

async fn take_json(host: &Host, request: Request) -> Result<Taken, Failure> {
    let Json(asked) = Json::<CreateProgram>::from_request(request, &())
        .await
        .map_err(|error| {
            let code = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
                _ => Code::BadRequest,
            };
            Failure::new(code, error.body_text())
        })?;
    let manifest = convert::manifest(&asked.manifest)?;
    let staged = host
        .blocking(move |host| {
            let dockerfile = Some(("Dockerfile", asked.dockerfile.as_str()))
                .filter(|(_, text)| !text.is_empty());
            let files = asked
                .src_files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str()));
            host.storage()
                .stage_files(files.chain(dockerfile), SourceLimits::default())
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    Ok(Taken {
        staged,
        manifest,
        name: asked.manifest.name,
    })
}

async fn take_archive(host: &Host, body: Body) -> Result<Taken, Failure> {
    let stream = body.into_data_stream().map_err(io::Error::other);
    let stream = Box::pin(stream.timeout(IDLE_TIMEOUT).map(|piece| {
        piece.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing came any more",
            ))
        })
    }));
    let reader = SyncIoBridge::new(StreamReader::new(stream));
    let staged = host
        .blocking(move |host| {
            host.storage()
                .stage_archive(reader, SourceLimits::default())
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    let (staged, asked) = host
        .blocking(move |_| {
            let asked = read_manifest(&staged);
            (staged, asked)
        })
        .await
        .map_err(|error| Failure::internal(&error))?;
    let asked = asked?;
    Ok(Taken {
        staged,
        manifest: convert::manifest(&asked)?,
        name: asked.name,
    })
}

/// Bytes of a `hersh.toml`.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;

/// The manifest of a staged tree; a tree without one asks for the defaults.
fn read_manifest(staged: &StagedSource) -> Result<hersh_wire::Manifest, Failure> {
    let bad = |detail: String| Failure::new(Code::BadManifest, detail);
    let path = staged.path().join("hersh.toml");
    let kind = match std::fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(hersh_wire::Manifest::default());
        }
        Err(error) => return Err(Failure::internal(&error)),
    };
    if !kind.is_file() {
        return Err(bad("hersh.toml is not a plain file".into()));
    }
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| bad(format!("hersh.toml can't be read: {error}")))?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(bad(format!(
            "hersh.toml is larger than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    toml::from_str(&text).map_err(|error| bad(format!("hersh.toml: {error}")))
}
