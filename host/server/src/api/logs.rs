//! The route for what programs print.

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response, sse::Event},
};
use futures_util::{Stream, StreamExt, stream};
use hersh_base::permits::Permit;
use hersh_storage::output::{self, LogSubscription, Marks, normal_time};
use hersh_wire::{Code, LogLine, Problem, Span};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::{
    extract::{OwnedProgram, Params},
    problem::Failure,
    stream::{event, last_event_id, live, permit, reader},
    view,
};
use crate::{auth::Caller, host::Host};

/// The most lines of one reply.
const TAIL_MAX: usize = 10_000;
const TAIL_USUAL: usize = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// The last lines, at most 10,000, and at most 4 MiB of them; 100 if left out.
    #[param(maximum = 10000)]
    tail: Option<usize>,
    /// Only lines of the last while (`10m`), or since a time (`2026-01-31T12:00:00Z`).
    since: Option<String>,
    /// Go on with what is printed, as Server-Sent Events.
    #[serde(default)]
    follow: bool,
    /// Lines of the stream `instance` too, which say where an instance began and how it ended.
    #[serde(default)]
    marks: bool,
}

/// What a program printed, across its restarts.
#[utoipa::path(
    get,
    path = "/programs/{id}/logs",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"), LogsQuery,
        ("last-event-id" = Option<String>, Header, description = "Where a live stream goes on")),
    responses((status = 200, description = "The lines, or a stream of them", content(
        (Vec<LogLine> = "application/json"), (String = "text/event-stream"))),
        (status = 503, description = "Too many logs are read, or live streams open, at once (`queue_full`): try again shortly",
            body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn program(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let tail = query.tail.unwrap_or(TAIL_USUAL);
    if tail > TAIL_MAX {
        let detail = format!("tail = {tail}: use at most {TAIL_MAX}");
        return Err(Failure::new(Code::BadRequest, detail));
    }
    let since = query
        .since
        .as_deref()
        .map(|text| since(text, host.now_ms()))
        .transpose()?;
    let (id, store) = (entry.id(), host.output());
    let marks = if query.marks {
        Marks::Shown
    } else {
        Marks::Hidden
    };
    if !query.follow {
        let permit = reader(&host, &caller)?;
        let lines = store.tail_of(&id, tail, marks).await;
        let lines = lines.map_err(|error| Failure::internal(&error))?;
        let lines = lines.into_iter().map(view::log_line);
        let lines = lines.filter(move |line| is_since(line, since.as_deref()));
        return Ok(list(lines, permit));
    }
    let position = last_event_id(&headers)?
        .map(LogPosition::parse)
        .transpose()?;
    // To go on from a position, the kept lines are read again and searched for the position.
    let tail = if position.is_some() { TAIL_MAX } else { tail };
    let permit = permit(&host, &caller)?;
    // This permit goes with the read. If it went with the request, a client that hangs up would free the
    // permit while its read goes on, and could begin another read.
    let reading = reader(&host, &caller)?;
    let followed = store.follow_of(&id, tail, marks, reading).await;
    let followed = followed.map_err(|error| Failure::internal(&error))?;
    let gone = entry.gone().clone().cancelled_owned();
    let is_shown = move |line: &LogLine| is_since(line, since.as_deref());
    let lines = resumed(followed, position, is_shown).take_until(gone);
    Ok(live(permit, lines))
}

/// Streams the kept lines behind `position`, then the lines that the program prints from now on. If
/// `position` is no longer kept, streams a line about the gap, then all kept lines. The position is
/// looked up in the very lines that are sent: if it were looked up in those of another read, the stream
/// would wait for ever for a position that is no longer kept.
fn resumed(
    followed: LogSubscription,
    position: Option<LogPosition>,
    is_shown: impl Fn(&LogLine) -> bool + Send,
) -> impl Stream<Item = Event> + Send {
    let kept: Vec<_> = followed.kept.into_iter().map(view::log_line).collect();
    let found = position.as_ref().map(|wanted| index_of(&kept, wanted));
    let (sent, gap) = match found {
        Some(Some(position)) => (position + 1, None),
        Some(None) => (0, Some(gap())),
        None => (0, None),
    };
    let live = ReceiverStream::new(followed.live).map(view::log_line);
    let lines = stream::iter(kept).chain(live);
    stream::iter(gap).chain(numbered(lines, sent, is_shown))
}

/// Returns an event that says that the position where a stream is to go on is not kept any more.
fn gap() -> Event {
    let line = LogLine {
        at: None,
        stream: Some(output::Stream::Host.name().to_owned()),
        line: "lines may be missing here: what came next is not kept any more".to_owned(),
    };
    event(None, &line)
}

/// Answers with lines as a JSON list. Each line is written as JSON only when the client takes it. If all
/// were written at once, lines of control characters would take six times their length in memory.
fn list(lines: impl Iterator<Item = LogLine> + Send + 'static, permit: Permit) -> Response {
    let mut separator = "[";
    let lines = lines.map(move |line| {
        let _held = &permit;
        let line = serde_json::to_string(&line)?;
        Ok::<_, serde_json::Error>(format!("{}{line}", std::mem::replace(&mut separator, ",")))
    });
    let mut lines = lines.peekable();
    let end = if lines.peek().is_none() { "[]" } else { "]" };
    let pieces = lines.chain(std::iter::once(Ok(end.to_owned())));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(stream::iter(pieces))).into_response()
}

/// A position in a stream of lines: the time of a line, and how many lines of the same time came before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LogPosition {
    at: String,
    number: u64,
}

impl LogPosition {
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts = text.split_once('/');
        let position = parts.and_then(|(at, number)| {
            Some(Self {
                at: normal_time(at)?,
                number: number.parse().ok()?,
            })
        });
        position.ok_or_else(|| Failure::new(Code::BadRequest, "Last-Event-ID is not from here"))
    }
}

/// Finds the positions of successive lines; holds the position of the last one.
#[derive(Debug, Default)]
struct LogPositions(LogPosition);

impl LogPositions {
    /// Returns the position of the next line; `None` for a line by the host itself, since not all of
    /// those are kept.
    fn of(&mut self, line: &LogLine) -> Option<LogPosition> {
        if line.stream.as_deref() == Some(output::Stream::Host.name()) {
            return None;
        }
        let at = line.at.clone().unwrap_or_default();
        self.0 = if at == self.0.at {
            LogPosition {
                at,
                number: self.0.number + 1,
            }
        } else {
            LogPosition { at, number: 0 }
        };
        Some(self.0.clone())
    }
}

/// Returns the index of the line at the position `wanted`. Looks for this very position and does not rely
/// on the order of times: a clock may step back, and two streams have times that are not in order.
fn index_of(lines: &[LogLine], wanted: &LogPosition) -> Option<usize> {
    let mut positions = LogPositions::default();
    lines
        .iter()
        .position(|line| positions.of(line).as_ref() == Some(wanted))
}

/// Turns lines into events whose ids are the positions of the lines. Leaves out the first `sent` lines
/// and those that are not shown, but counts them: an id means the same line whatever was asked for.
fn numbered(
    lines: impl Stream<Item = LogLine> + Send,
    sent: usize,
    is_shown: impl Fn(&LogLine) -> bool + Send,
) -> impl Stream<Item = Event> + Send {
    let mut positions = LogPositions::default();
    lines.enumerate().filter_map(move |(number, line)| {
        let position = positions.of(&line);
        let event = (number >= sent && is_shown(&line)).then(|| {
            let id = position.map(|position| format!("{}/{}", position.at, position.number));
            event(id.as_deref(), &line)
        });
        std::future::ready(event)
    })
}

/// Reads a span before now, such as `10m`, or a time. Returns a time in the form that lines carry.
fn since(text: &str, now_ms: u64) -> Result<String, Failure> {
    if let Ok(Span(ago_ms)) = Span::try_from(text.to_owned()) {
        let since =
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(now_ms.saturating_sub(ago_ms));
        return Ok(humantime::format_rfc3339_nanos(since).to_string());
    }
    let time = humantime::parse_rfc3339(text).map_err(|_| {
        let detail = format!(
            "since = {text:?}: use a while such as 10m, or a time such as 2026-01-31T12:00:00Z"
        );
        Failure::new(Code::BadRequest, detail)
    })?;
    Ok(humantime::format_rfc3339_nanos(time).to_string())
}

fn is_since(line: &LogLine, since: Option<&str>) -> bool {
    match (since, line.at.as_deref()) {
        (Some(since), Some(at)) => at >= since,
        (None, _) | (_, None) => true,
    }
}
