//! Taking source in: JSON, or a tar stream that is never held in memory.

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hersh_base::{pace::Pace, seats::Seat};
use hersh_program::Manifest;
use hersh_storage::{MANIFEST, SourceLimits, StagedSource};
use hersh_wire::{Code, CreateProgram, IGNORE_BYTES_MAX, Ignore};
use tokio::time::{Instant, timeout};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    build_query::{BuildAsked, BuildQuery},
    extract::json,
    lists::NoLists,
    problem::Failure,
};
use crate::{auth::Caller, host::Host};

/// How long a sender may keep the host waiting, less what it sends at the least pace.
const PATIENCE: Duration = Duration::from_secs(60);
/// A sender that takes longer than this for all of it is given up, however busy.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Source that is checked and staged, with its manifest.
pub(super) struct Taken {
    /// Held by the work itself and not by who waits for it: a sender that hangs up has not made room.
    _seat: Seat,
    pub(super) staged: StagedSource,
    pub(super) manifest: Manifest,
    pub(super) name: Option<String>,
}

/// Reads a request's body: source that is checked and staged, and its manifest.
///
/// # Errors
/// A [`Failure`]; nothing is left in staging then.
pub(super) async fn take(
    host: &Host,
    caller: &Caller,
    request: Request,
    query: BuildQuery,
) -> Result<Taken, Failure> {
    let asked = query.with(request.headers())?;
    host.space().check()?;
    let Some(seat) = host.seats().uploads.take(&caller.user, caller.role.share()) else {
        let detail = "too many uploads are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    match media_type(request.headers()).as_str() {
        "application/json" => take_json(host, seat, request, asked).await,
        "application/x-tar"
        | "application/gzip"
        | "application/zstd"
        | "application/octet-stream" => take_archive(host, seat, request.into_body(), asked).await,
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

async fn take_json(
    host: &Host,
    seat: Seat,
    request: Request,
    build: BuildAsked,
) -> Result<Taken, Failure> {
    let asked: CreateProgram = json(request, &()).await?;
    let name = asked.manifest.name.clone();
    let manifest = build.manifest(asked.manifest)?;
    let (seat, staged) = host
        .blocking(move |host| {
            let dockerfile = Some(("Dockerfile", asked.dockerfile.as_str()))
                .filter(|(_, text)| !text.is_empty());
            let files = asked
                .src_files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str()));
            let staged = host
                .storage()
                .stage_files(files.chain(dockerfile), limits(host))?;
            check_patterns(&staged)?;
            Ok::<_, Failure>((seat, staged))
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    taken(host, seat, staged, manifest, name)
}

async fn take_archive(
    host: &Host,
    seat: Seat,
    body: Body,
    build: BuildAsked,
) -> Result<Taken, Failure> {
    let reader = SyncIoBridge::new(StreamReader::new(Box::pin(paced(body))));
    let (seat, staged, manifest, name) = host
        .blocking(move |host| {
            let staged = host.storage().stage_archive(reader, limits(host))?;
            check_patterns(&staged)?;
            let asked = read_manifest(&staged)?;
            let name = asked.name.clone();
            let manifest = build.manifest(asked)?;
            Ok::<_, Failure>((seat, staged, manifest, name))
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    taken(host, seat, staged, manifest, name)
}

/// What comes of a body, for as long as it comes at the least pace.
fn paced(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let late = |what| Some(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
    let coming = (body.into_data_stream(), Pace::new(PATIENCE), Instant::now());
    stream::unfold(Some(coming), move |coming| async move {
        let (mut pieces, mut pace, began) = coming?;
        let since = Instant::now();
        let piece = timeout(pace.left(), pieces.next()).await;
        let piece = match piece {
            Ok(_) if began.elapsed() > UPLOAD_TIMEOUT => late("it takes longer than an hour"),
            Ok(piece) => piece.map(|piece| piece.map_err(io::Error::other)),
            Err(_) => late("it came too slowly, or nothing came any more"),
        };
        match piece? {
            Ok(piece) => {
                pace.went(since.elapsed(), piece.len());
                Some((Ok(piece), Some((pieces, pace, began))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Source and manifest together: how it is built is part of what is built.
fn taken(
    host: &Host,
    seat: Seat,
    staged: StagedSource,
    manifest: Manifest,
    name: Option<String>,
) -> Result<Taken, Failure> {
    if let Some(machine) = host.surroundings().machine() {
        hersh_manifest::fits(&manifest.limits, machine)?;
    }
    Ok(Taken {
        _seat: seat,
        staged: staged.built_by(&manifest.build)?,
        manifest,
        name,
    })
}

fn limits(host: &Host) -> SourceLimits {
    SourceLimits {
        free_bytes_min: host.space().floor_bytes(),
        ..SourceLimits::default()
    }
}

/// Bytes of a `hersh.toml`.
const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// The manifest of a staged tree; a tree without one asks for the defaults.
fn read_manifest(staged: &StagedSource) -> Result<hersh_wire::Manifest, Failure> {
    let bad = |detail: String| Failure::new(Code::BadManifest, detail);
    let bytes = match staged.read(MANIFEST, MANIFEST_BYTES_MAX + 1) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(hersh_wire::Manifest::default());
        }
        Err(error) => return Err(bad(format!("hersh.toml can't be read: {error}"))),
    };
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(bad(format!(
            "hersh.toml is larger than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("hersh.toml is not UTF-8".into()))?;
    let read = toml::from_str::<NoLists>(&text).and_then(|_| toml::from_str(&text));
    read.map_err(|error| bad(format!("hersh.toml: {error}")))
}

/// Checks the patterns of a staged tree: they say what of it a build sees.
fn check_patterns(staged: &StagedSource) -> Result<(), Failure> {
    let bad = |detail: String| Failure::new(Code::BadSource, detail);
    let bytes = match staged.read(".dockerignore", IGNORE_BYTES_MAX + 1) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(bad(format!(".dockerignore can't be read: {error}"))),
    };
    let text = String::from_utf8(bytes).map_err(|_| bad(".dockerignore is not UTF-8".into()))?;
    let read = Ignore::read(&text);
    read.map(drop).map_err(|error| bad(error.to_string()))
}
