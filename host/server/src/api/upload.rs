//! Takes source in: as JSON, or as a tar stream that is never held in memory.

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hersh_base::{pace::Pace, permits::Permit};
use hersh_program::Manifest;
use hersh_storage::{MANIFEST, SourceLimits, StagedSource};
use hersh_wire::{Code, CreateProgram, IGNORE_BYTES_MAX, Ignore};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    build_query::{BuildParameters, BuildQuery},
    extract::json,
    lists::NoLists,
    problem::Failure,
};
use crate::{auth::Caller, host::Host, idempotency::Fingerprint};

/// The longest time that a sender may keep the host waiting. Each byte that comes pays for a part of the
/// wait, see [`Pace`].
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest time for a whole upload. A sender that takes longer is given up, even if it still sends.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Source that is checked and staged, with its manifest.
pub(super) struct Upload {
    /// The permit of the upload, held until the source is stored. If it were free earlier, a sender that
    /// hangs up could begin another upload while this one is still being stored.
    pub(super) permit: Permit,
    /// The fingerprint of the request that brought the source; `None` if the request has no key.
    pub(super) fingerprint: Option<String>,
    pub(super) staged: StagedSource,
    pub(super) manifest: Manifest,
    pub(super) name: Option<String>,
}

/// Reads source and manifest from a request's body, checks both, and stages the source.
///
/// # Errors
/// A [`Failure`]; nothing is left in staging then.
pub(super) async fn take(
    host: &Host,
    caller: &Caller,
    request: Request,
    query: BuildQuery,
    fingerprint: Option<&Fingerprint>,
) -> Result<Upload, Failure> {
    let asked = query.with(request.headers())?;
    host.disks().check()?;
    let permit = permit(host, caller)?;
    let request = match fingerprint {
        Some(fingerprint) => request.map(|body| hashed(body, fingerprint.clone())),
        None => request,
    };
    let mut taken = match media_type(request.headers()).as_str() {
        "application/json" => take_json(host, permit, request, asked).await?,
        "application/x-tar"
        | "application/gzip"
        | "application/zstd"
        | "application/octet-stream" => {
            take_archive(host, permit, request.into_body(), asked).await?
        }
        other => {
            return Err(Failure::new(
                Code::BadRequest,
                format!(
                    "content type {other:?} is not known; send application/json or application/x-tar"
                ),
            ));
        }
    };
    taken.fingerprint = fingerprint.map(Fingerprint::text);
    Ok(taken)
}

/// Reads a request's body only to complete its fingerprint: nothing of the body is stored.
///
/// # Errors
/// A [`Failure`] when no permit is free, or when the body does not come whole or is longer than any source.
pub(super) async fn read_over(
    host: &Host,
    caller: &Caller,
    request: Request,
    fingerprint: &Fingerprint,
) -> Result<(), Failure> {
    let _permit = permit(host, caller)?;
    let mut left = SourceLimits::default().archive_bytes_max();
    let mut pieces = std::pin::pin!(paced(request.into_body()));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Failure::new(Code::BadSource, format!("the source did not come: {error}"))
        })?;
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or_else(|| {
            let detail = "the source is larger than any that is taken";
            Failure::new(Code::TooLarge, detail)
        })?;
        fingerprint.take_in(&piece);
    }
    Ok(())
}

fn permit(host: &Host, caller: &Caller) -> Result<Permit, Failure> {
    let permit = host
        .permits()
        .uploads
        .take(&caller.user, caller.role.share());
    permit.ok_or_else(|| {
        let detail = "too many uploads are under way; try again shortly";
        Failure::new(Code::QueueFull, detail)
    })
}

/// Returns the body. Each piece of it goes into the fingerprint as it is read.
fn hashed(body: Body, fingerprint: Fingerprint) -> Body {
    Body::new(body.map_frame(move |frame| {
        if let Some(piece) = frame.data_ref() {
            fingerprint.take_in(piece);
        }
        frame
    }))
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
    permit: Permit,
    request: Request,
    build: BuildParameters,
) -> Result<Upload, Failure> {
    let asked: CreateProgram = json(request, &()).await?;
    let name = asked.manifest.name.clone();
    let manifest = build.manifest(asked.manifest)?;
    let (permit, staged) = host
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
            Ok::<_, Failure>((permit, staged))
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    taken(host, permit, staged, manifest, name)
}

async fn take_archive(
    host: &Host,
    permit: Permit,
    body: Body,
    build: BuildParameters,
) -> Result<Upload, Failure> {
    let reader = SyncIoBridge::new(StreamReader::new(Box::pin(paced(body))));
    let (permit, staged, manifest, name) = host
        .blocking(move |host| {
            let staged = host.storage().stage_archive(reader, limits(host))?;
            check_patterns(&staged)?;
            let asked = read_manifest(&staged)?;
            let name = asked.name.clone();
            let manifest = build.manifest(asked)?;
            Ok::<_, Failure>((permit, staged, manifest, name))
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
    taken(host, permit, staged, manifest, name)
}

/// Streams the pieces of a body. The stream fails once they come slower than the least pace, or for longer
/// than [`UPLOAD_TIMEOUT`].
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

/// Puts source and manifest together. The build's id depends on both, since how the source is built is
/// part of what is built.
fn taken(
    host: &Host,
    permit: Permit,
    staged: StagedSource,
    manifest: Manifest,
    name: Option<String>,
) -> Result<Upload, Failure> {
    if let Some(machine) = host.surroundings().machine() {
        hersh_manifest::fits(&manifest.limits, machine)?;
    }
    Ok(Upload {
        permit,
        fingerprint: None,
        staged: staged.built_by(&manifest.build)?,
        manifest,
        name,
    })
}

fn limits(host: &Host) -> SourceLimits {
    SourceLimits {
        free_bytes_min: host.disks().floor_bytes(),
        ..SourceLimits::default()
    }
}

/// The most bytes that a `hersh.toml` may have.
const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// Reads the manifest of a staged tree. A tree without one asks for the defaults.
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

/// Checks the patterns in a staged tree's `.dockerignore`: they say which of the tree's files a build sees.
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
