//! Server-Sent Events: an id each, so that a client that lost its connection goes on where it was.

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

/// A permit for a live stream, taken before anything is read for it: otherwise callers that are refused
/// or hang up would make the host read without a bound.
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

/// A permit for one read of a log or of a history, which is in the host's memory until the client took it.
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

/// Sends events until there are no more.
pub(super) fn live(permit: Permit, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(move |event| {
        let _held = &permit;
        Ok::<_, Infallible>(event)
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// One event with `value` as JSON, and the id to go on after it.
pub(super) fn event<T: Serialize>(id: Option<&str>, value: &T) -> Event {
    // Our own types always encode; an empty event would be skipped by clients.
    let event = Event::default().json_data(value).unwrap_or_default();
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}

/// The id after which the client wants to go on.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let bad = || Failure::new(Code::BadRequest, "Last-Event-ID is not from here");
    let value = headers.get(LAST_EVENT_ID);
    value
        .map(|value| value.to_str().map_err(|_| bad()))
        .transpose()
}
