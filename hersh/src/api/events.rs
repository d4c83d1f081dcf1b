//! The live stream of events: the present state first, then what happens, until the end.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use super::clients::Client;
use super::frames;
use super::hub::HubMessage;
use super::query::NoQuery;
use super::reply::ErrorReply;
use super::state::Api;

/// How far a client's stream has come.
enum Stage {
    /// The client gets the present state, and the end if there is one already.
    Greet { present: Bytes, end: Option<Bytes> },
    /// The client gets what happens.
    Follow,
    /// The client gets these bytes last.
    Part(Bytes),
    /// The client got everything.
    Over,
}

/// Server-Sent Events; each `data` is one JSON object.
///
/// `state` `{state, isRunning, at}`: the present one first, then each change.
/// `signal` `{type, content, createdAt}`: consumed; its content is cut after 8 KiB.
/// `value` `{name, value, error}`: a variable changed; of several changes within 10 ms the newest.
/// `log` `{id, time, level, kind, run, message}`.
/// `gap` `{lost}`: so many events before the next are missing, since there were too many.
/// `dropped` `{reason}`: the client read too slowly; the stream ends.
/// `end` `{state, reason}`: the watcher is over; the stream ends.
#[utoipa::path(
    get,
    path = "/watcher/events",
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn events(State(api): State<Arc<Api>>, _: NoQuery) -> impl IntoResponse {
    // The client joins before the state is read, so that it is told whatever happens after that
    // state.
    let client = Client::join(api.clone());
    let end = api.hub.end();
    let present = frames::state_frame(&api.shared.status());
    let greet = Stage::Greet { present, end };
    let batches = stream::unfold((client, greet), |(mut client, stage)| async move {
        let (bytes, stage) = match stage {
            Stage::Greet { present, end: None } => (present, Stage::Follow),
            Stage::Greet {
                present,
                end: Some(end),
            } => (present, Stage::Part(end)),
            Stage::Follow => follow(&mut client).await,
            Stage::Part(end) => (end, Stage::Over),
            Stage::Over => return None,
        };
        Some((Ok::<_, Infallible>(bytes), (client, stage)))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(batches))
}

/// Returns the bytes that this client gets next, and the stage after them.
async fn follow(client: &mut Client) -> (Bytes, Stage) {
    match client.batches.recv().await {
        Ok(HubMessage::Batch(bytes)) => (bytes, Stage::Follow),
        Ok(HubMessage::End(bytes)) => (bytes, Stage::Over),
        Err(RecvError::Lagged(batches)) => {
            client.drop_behind();
            (frames::dropped_frame(batches), Stage::Over)
        }
        // The channel's sender lives as long as the API that the client holds.
        Err(RecvError::Closed) => (Bytes::new(), Stage::Over),
    }
}
