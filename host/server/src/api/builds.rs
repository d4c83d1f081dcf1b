//! The routes for a program's builds and for what they printed.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use hersh_base::permits::Permit;
use hersh_program::{BuildId, IdError};
use hersh_storage::output::BuildLogReader;
use hersh_wire::{BuildList, Code, LogLine, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{OwnedProgram, Params},
    problem::Failure,
    stream::{event, live, permit, reader},
    view,
};
use crate::{
    auth::Caller,
    host::{Host, ProgramEntry},
};

/// The time between two looks at the log file of a running build.
const BUILD_LOG_POLL: Duration = Duration::from_millis(100);
/// The most bytes of a whole build log that are handed on at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The fewest bytes of a build's id that can name the build: as many as are shown to people.
const SHORT_BYTES_MIN: usize = "build-".len() + 12;

/// The builds whose source or log is kept.
#[utoipa::path(
    get,
    path = "/programs/{id}/builds",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "Newest first", body = BuildList)),
)]
pub(super) async fn list(
    State(host): State<Host>,
    OwnedProgram(entry): OwnedProgram,
) -> Result<Json<BuildList>, Failure> {
    let (id, current) = (
        entry.id(),
        entry
            .supervisor()
            .with_state(|program| program.source.build.clone()),
    );
    let builds = host
        .blocking(move |host| host.storage().builds(&id))
        .await
        .map_err(|error| Failure::internal(&error))??;
    let builds = builds.iter().map(|build| view::build_view(build, &current));
    Ok(Json(BuildList {
        builds: builds.collect(),
    }))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BuildLogQuery {
    /// Begin with the first line and go on until the build is over, as Server-Sent Events.
    #[serde(default)]
    follow: bool,
}

/// What a build printed.
#[utoipa::path(
    get,
    path = "/programs/{id}/builds/{build}/logs",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"),
        ("build" = String, Path, description = "The build's id, or at least 12 of its digits, as in `build-0123456789ab`; or `latest`"), BuildLogQuery),
    responses((status = 200, description = "Its output, or a stream of its lines", content(
        (String = "text/plain"), (String = "text/event-stream"))),
        (status = 503, description = "Too many live streams are open at once (`queue_full`): try again shortly",
            body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn logs(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    OwnedProgram(entry): OwnedProgram,
    Path((_, build)): Path<(String, String)>,
    Params(query): Params<BuildLogQuery>,
) -> Result<Response, Failure> {
    let build = named(&host, &entry, build).await?;
    let id = entry.id();
    if query.follow {
        let permit = permit(&host, &caller)?;
        let log = host.storage().follow_build_log(&id, &build);
        return Ok(live(permit, follow_build(entry, build, log)));
    }
    let permit = reader(&host, &caller)?;
    let (program, wanted) = (id.clone(), build.clone());
    let text = host
        .blocking(move |host| host.storage().read_build_log(&program, &wanted))
        .await
        .map_err(|error| Failure::internal(&error))?
        .map_err(|error| Failure::internal(&error))?
        .ok_or_else(|| {
            let detail = format!("{build} of {id} was not built yet");
            Failure::new(Code::NotFound, detail)
        })?;
    // Checked after reading. If it were checked before, the program could be removed in between, and the
    // text could be that of another program with the same name and so the same path.
    if entry.gone().is_cancelled() {
        return Err(Failure::new(Code::NotFound, format!("{id} was removed")));
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(in_pieces(text.into(), permit))).into_response())
}

/// Streams a text in pieces. The permit is free again when the client has taken the last piece.
fn in_pieces(
    mut text: Bytes,
    permit: Permit,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    stream::iter(std::iter::from_fn(move || {
        let _held = &permit;
        let piece = text.split_to(text.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(Ok(piece))
    }))
}

/// Finds the build that `text` names.
async fn named(host: &Host, entry: &ProgramEntry, text: String) -> Result<BuildId, Failure> {
    if text == "latest" {
        return Ok(entry.build_id());
    }
    let id = entry.id();
    let stored = host
        .blocking(move |host| host.storage().builds(&id))
        .await
        .map_err(|error| Failure::internal(&error))?;
    // A build whose source is not there may still have a log, so a failed listing is no error here.
    let stored = stored.unwrap_or_default();
    find(stored.into_iter().map(|build| build.id), &text)
        .map_err(|error| Failure::new(Code::NotFound, format!("no such build: {error}")))
}

/// Returns the build of `stored` whose id is `text`, or else the only one whose id begins with `text`. If
/// there is none, `text` may be the whole id of a build whose source is gone.
fn find(stored: impl Iterator<Item = BuildId>, text: &str) -> Result<BuildId, IdError> {
    let mut found: Vec<BuildId> = stored.filter(|id| id.as_str().starts_with(text)).collect();
    if let Some(same) = found.iter().position(|id| id.as_str() == text) {
        return Ok(found.swap_remove(same));
    }
    match found.pop() {
        Some(id) if found.is_empty() && text.len() >= SHORT_BYTES_MIN => Ok(id),
        Some(_) | None => BuildId::parse(text),
    }
}

/// Streams the lines of a build from its first line, until the build is over and all lines are sent.
fn follow_build(
    entry: Arc<ProgramEntry>,
    build: BuildId,
    log: BuildLogReader,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let following = FollowedBuild {
        entry,
        build,
        log: Some(log),
    };
    stream::unfold(following, |mut following| async move {
        let lines = following.next_lines().await?;
        Some((stream::iter(lines), following))
    })
    .flatten()
    .map(|text| {
        let line = LogLine {
            at: None,
            stream: None,
            line: text,
        };
        event(None, &line)
    })
}

/// A build whose log is followed.
struct FollowedBuild {
    entry: Arc<ProgramEntry>,
    build: BuildId,
    /// The reader of the build's log; `None` once all lines are sent.
    log: Option<BuildLogReader>,
}

impl FollowedBuild {
    /// Waits for the next lines; `None` when the build is over and all lines are sent, or when the program
    /// was removed.
    async fn next_lines(&mut self) -> Option<Vec<String>> {
        loop {
            let mut log = self.log.take()?;
            // Checked before reading: once a build is over, its log is complete. If this were checked
            // after reading, lines that the build wrote in between would be lost.
            let is_building = self.entry.may_build(&self.build);
            let read = tokio::task::spawn_blocking(move || {
                let lines = log.next_lines();
                (log, lines)
            });
            let (mut log, lines) = read.await.ok()?;
            // Checked after reading. If it were checked before, the program could be removed in between,
            // and the lines could be those of another program with the same name and so the same path.
            if self.entry.gone().is_cancelled() {
                return None;
            }
            match lines {
                None if !is_building => return log.rest().map(|rest| vec![rest]),
                None => tokio::time::sleep(BUILD_LOG_POLL).await,
                Some(_) => {}
            }
            self.log = Some(log);
            if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
                return Some(lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_the_beginning_of_its_id() {
        let id = |digits: &str| BuildId::parse(&format!("build-{digits:0<64}")).unwrap();
        let old = BuildId::parse("build-0123456789ab").unwrap();
        let stored = [id("0123456789ab"), id("0123456789ac1"), id("0123456789ac2")];
        let find = |stored: &[BuildId], text: &str| find(stored.iter().cloned(), text).ok();
        assert_eq!(find(&stored, "build-0123456789ab"), Some(stored[0].clone()));
        assert_eq!(find(&stored, stored[1].as_str()), Some(stored[1].clone()));
        let with_old = [&stored[..], std::slice::from_ref(&old)].concat();
        assert_eq!(
            find(&with_old, old.as_str()),
            Some(old.clone()),
            "its own id"
        );
        for text in ["build-0123456789ac1", "build-0123456789ac2"] {
            assert!(find(&stored, text).unwrap().as_str().starts_with(text));
        }
        // The text is too short, or no stored id begins with it and it is no whole id.
        for text in [
            "build-0123456789ac0",
            "build-0",
            "build-",
            "",
            "build-0123456789ad1",
        ] {
            assert_eq!(find(&stored, text), None, "{text}");
        }
        // The source of this build is gone, but its log may still be there.
        assert_eq!(find(&[], old.as_str()), Some(old));
    }
}
