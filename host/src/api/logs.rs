//! What programs print.

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use hersh_wire::{Code, LogLine, Span};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::{
    extract::{Owned, Params},
    problem::Failure,
    stream::{event, last_event_id, live},
};
use crate::{auth::Caller, convert, host::Host, runtime::logs::normal_time, seats::Seat};

/// Lines of one reply.
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
        (Vec<LogLine> = "application/json"), (String = "text/event-stream")))),
)]
pub(super) async fn program(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Owned(entry): Owned,
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
    let (id, store) = (entry.id(), host.runtime().log_store());
    if !query.follow {
        let Some(seat) = host.seats().readers.take(&caller.user) else {
            let detail = "too many logs are being read; try again shortly";
            return Err(Failure::new(Code::QueueFull, detail));
        };
        let lines = store.tail(&id, tail).await;
        let lines = lines.map_err(|error| Failure::internal(&error))?;
        let lines = lines.into_iter().map(convert::log_line);
        let lines = lines.filter(move |line| is_since(line, since.as_deref()));
        return Ok(list(lines, seat));
    }
    let place = last_event_id(&headers)?.map(Place::parse).transpose()?;
    // To go on, all that is kept is read again up to the place.
    let tail = if place.is_some() { TAIL_MAX } else { tail };
    let lines = ReceiverStream::new(store.follow(&id, tail)).map(convert::log_line);
    let lines = lines.filter(move |line| std::future::ready(is_since(line, since.as_deref())));
    let gone = entry.gone().clone().cancelled_owned();
    let lines = numbered(lines, place).take_until(gone);
    live(&host, caller, lines)
}

/// Lines as a list in JSON, each written when the client takes it, so that lines of control characters
/// don't stand in memory six times as long.
fn list(lines: impl Iterator<Item = LogLine> + Send + 'static, seat: Seat) -> Response {
    let mut separator = "[";
    let lines = lines.map(move |line| {
        let _held = &seat;
        let line = serde_json::to_string(&line)?;
        Ok::<_, serde_json::Error>(format!("{}{line}", std::mem::replace(&mut separator, ",")))
    });
    let mut lines = lines.peekable();
    let end = if lines.peek().is_none() { "[]" } else { "]" };
    let pieces = lines.chain(std::iter::once(Ok(end.to_owned())));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(stream::iter(pieces))).into_response()
}

/// Where a stream of lines was: the time of a line, and how many of that same time came before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: String,
    number: u64,
}

impl Place {
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts = text.split_once('/');
        let place = parts.and_then(|(at, number)| {
            Some(Self {
                at: normal_time(at)?,
                number: number.parse().ok()?,
            })
        });
        place.ok_or_else(|| Failure::new(Code::BadRequest, "Last-Event-ID is not from here"))
    }
}

/// Lines as events with their places as ids, from after `after` on.
fn numbered(
    lines: impl Stream<Item = LogLine> + Send,
    after: Option<Place>,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let mut last = Place::default();
    let placed = lines.map(move |line| {
        let at = line.at.clone().unwrap_or_default();
        last = if at == last.at {
            Place {
                at,
                number: last.number + 1,
            }
        } else {
            Place { at, number: 0 }
        };
        (last.clone(), line)
    });
    placed
        .filter(move |(place, _)| {
            std::future::ready(after.as_ref().is_none_or(|after| place > after))
        })
        .map(|(place, line)| event(Some(&format!("{}/{}", place.at, place.number)), &line))
}

/// `10m` ago, or a time, as lines carry it.
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
