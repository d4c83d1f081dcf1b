//! What programs and builds print.

use std::{
    convert::Infallible,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt, stream};
use hersh_program::BuildId;
use hersh_wire::{Code, LogLine};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    extract::{Id, Params},
    problem::Failure,
};
use crate::{
    convert,
    host::{Entry, Host},
};

/// Lines of one reply.
const TAIL_MAX: usize = 10_000;
const TAIL_USUAL: usize = 100;

/// How often the log file of a running build is looked at.
const BUILD_LOG_POLL: Duration = Duration::from_millis(100);
/// Bytes of a build log that are read at once.
const CHUNK_BYTES: u64 = 64 * 1024;

/// `?tail=100&follow=true`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    tail: Option<usize>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn program(
    State(host): State<Host>,
    Id(id): Id,
    Params(query): Params<LogsQuery>,
) -> Result<Response, Failure> {
    host.get(&id)?;
    let tail = query.tail.unwrap_or(TAIL_USUAL);
    if tail > TAIL_MAX {
        return Err(Failure::new(
            Code::BadRequest,
            format!("tail = {tail}: use at most {TAIL_MAX}"),
        ));
    }
    if !query.follow {
        let lines = host.runtime().log_store().tail(&id, tail).await;
        let lines = lines
            .map_err(|error| Failure::internal(&error))?
            .into_iter();
        return Ok(Json(lines.map(convert::log_line).collect::<Vec<_>>()).into_response());
    }
    let lines = ReceiverStream::new(host.runtime().log_store().follow(&id, tail));
    Ok(live(lines.map(|line| sse(&convert::log_line(line)))))
}

pub(super) async fn build(
    State(host): State<Host>,
    Id(id): Id,
    Path((_, build)): Path<(String, String)>,
    Params(query): Params<LogsQuery>,
) -> Result<Response, Failure> {
    let entry = host.get(&id)?;
    let build = match build.as_str() {
        "latest" => entry.build_id(),
        text => BuildId::parse(text)
            .map_err(|error| Failure::new(Code::NotFound, format!("no such build: {error}")))?,
    };
    let path = host.storage().build_log_path(&id, &build);
    if query.follow {
        return Ok(live(follow_build(entry, path)));
    }
    let text = tokio::fs::read(&path).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Failure::new(Code::NotFound, format!("{build} of {id} was not built yet"));
        }
        Failure::internal(&error)
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned().into_response())
}

/// The lines of a build from its first, until it is over and all are told.
fn follow_build(entry: Arc<Entry>, path: PathBuf) -> impl Stream<Item = Result<Event, Infallible>> {
    let reading = BuildLog {
        entry,
        path,
        offset: 0,
        partial: Vec::new(),
        over: false,
    };
    stream::unfold(reading, |mut reading| async move {
        let lines = reading.next_lines().await?;
        Some((stream::iter(lines), reading))
    })
    .flatten()
    .map(|text| {
        sse(&LogLine {
            at: None,
            stream: None,
            line: text,
        })
    })
}

struct BuildLog {
    entry: Arc<Entry>,
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
    over: bool,
}

impl BuildLog {
    /// The next lines; `None` when the build is over and nothing is left to tell.
    async fn next_lines(&mut self) -> Option<Vec<String>> {
        loop {
            if self.over {
                return None;
            }
            // Asked before reading: what a build that is over has written is all there.
            let building = self.entry.is_building();
            let chunk = self.read_chunk().await;
            if chunk.is_empty() && !building {
                self.over = true;
                let rest = std::mem::take(&mut self.partial);
                return (!rest.is_empty())
                    .then(|| vec![String::from_utf8_lossy(&rest).into_owned()]);
            }
            let lines = self.split(&chunk);
            if !lines.is_empty() {
                return Some(lines);
            }
            if chunk.is_empty() {
                tokio::time::sleep(BUILD_LOG_POLL).await;
            }
        }
    }

    /// What was written since; nothing if the file is not there yet or can't be read.
    async fn read_chunk(&mut self) -> Vec<u8> {
        let (path, offset) = (self.path.clone(), self.offset);
        let read = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, Vec<u8>)> {
            let mut file = std::fs::File::open(path)?;
            // Shorter than what was read: another build of the same tree has begun anew.
            let offset = if file.metadata()?.len() < offset {
                0
            } else {
                offset
            };
            file.seek(SeekFrom::Start(offset))?;
            let mut chunk = Vec::new();
            file.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
            Ok((offset, chunk))
        });
        let read = read.await.ok().and_then(Result::ok);
        let (offset, chunk) = read.unwrap_or((self.offset, Vec::new()));
        self.offset = offset + chunk.len() as u64;
        chunk
    }

    fn split(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.ends_with(b"\n") || self.partial.len() as u64 > CHUNK_BYTES {
                let line = std::mem::take(&mut self.partial);
                lines.push(String::from_utf8_lossy(&line).trim_end().to_string());
            }
        }
        lines
    }
}

fn sse(line: &LogLine) -> Result<Event, Infallible> {
    // A line of text always encodes; an empty event would be skipped by clients.
    Ok(Event::default().json_data(line).unwrap_or_default())
}

fn live(lines: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(lines)
        .keep_alive(KeepAlive::default())
        .into_response()
}
