//! Server-Sent Events. By the id of an event, a client that lost its connection can go on where it was.

use std::convert::Infallible;

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt};
use hersh_base::permits::Permit;
use hersh_wire::Code;
use serde::Serialize;

use super::problem::Failure;
use crate::{auth::Caller, host::Host};

const LAST_EVENT_ID: &str = "last-event-id";

/// Takes a permit for a live stream. Handlers call this before they read anything for the stream:
/// otherwise callers that are refused or hang up would make the host read without a bound.
///
/// # Errors
/// A [`Failure`] when too many streams are open.
pub(super) fn permit(host: &Host, caller: &Caller) -> Result<Permit, Failure> {
    host.permits()
        .streams
        .take(&caller.user, caller.role.share())
        .ok_or_else(|| {
            let detail = "too many live streams are open; close one, or try again later";
            Failure::new(Code::QueueFull, detail)
        })
}

/// Takes a permit for one read of a log or of a history. What was read stays in the host's memory until
/// the client has taken it.
///
/// # Errors
/// A [`Failure`] when too many are being read.
pub(super) fn reader(host: &Host, caller: &Caller) -> Result<Permit, Failure> {
    host.permits()
        .readers
        .take(&caller.user, caller.role.share())
        .ok_or_else(|| {
            let detail = "too many logs and histories are being read; try again shortly";
            Failure::new(Code::QueueFull, detail)
        })
}

/// Answers with events until there are no more, and holds the permit until then.
pub(super) fn live(permit: Permit, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(move |event| {
        let _held = &permit;
        Ok::<_, Infallible>(event)
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// Returns an event with `value` as JSON. A client that knows `id` can go on after the event.
pub(super) fn event<T: Serialize>(id: Option<&str>, value: &T) -> Event {
    // Our own types can always be encoded. If one could not, clients would skip the empty event.
    let event = Event::default().json_data(value).unwrap_or_default();
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}

/// Returns the id of the event after which the client wants to go on, if it names one.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let bad = || Failure::new(Code::BadRequest, "Last-Event-ID is not from here");
    let value = headers.get(LAST_EVENT_ID);
    value
        .map(|value| value.to_str().map_err(|_| bad()))
        .transpose()
}
