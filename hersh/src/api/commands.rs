//! What clients ask of the watcher: its end. How a command's body is read.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::query::{NoQuery, bad};
use super::reply::{ErrorReply, Failure};
use super::state::Api;
use crate::{EndKind, Ending, MESSAGE_LIMIT_BYTES, WatcherState};

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body, bytes: a message in which every byte is escaped, and what stands around it.
const BODY_LIMIT_BYTES: usize = 6 * MESSAGE_LIMIT_BYTES + 1_024;
/// Longest reason of a stop, bytes.
const REASON_LIMIT_BYTES: usize = 1_024;

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopRequest {
    /// Why, 1 to 1,024 bytes.
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct CommandReply {
    /// What was done.
    pub(super) status: &'static str,
}

/// Asks the watcher to stop: the run in progress may finish, the cleanup runs. Asking again
/// changes nothing.
#[utoipa::path(
    post,
    path = "/watcher/stop",
    request_body = Option<StopRequest>,
    responses(
        (status = 202, description = "It is asked", body = CommandReply),
        (status = 400, description = "The body is malformed", body = ErrorReply),
        (status = 403, description = "It comes from a web page", body = ErrorReply),
        (status = 408, description = "The body came too slowly", body = ErrorReply),
        (status = 409, description = "The watcher is over", body = ErrorReply),
        (status = 413, description = "The body is too long", body = ErrorReply),
    )
)]
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    _: NoQuery,
    request: Request,
) -> Result<(StatusCode, Json<CommandReply>), Failure> {
    let reason = reason(&read_body(request).await?)?;
    match api.shared.state() {
        WatcherState::Stopped | WatcherState::Killed | WatcherState::Crashed => {
            let text = "the watcher is over already";
            return Err(Failure::new(StatusCode::CONFLICT, text));
        }
        WatcherState::NotRun
        | WatcherState::InitRun
        | WatcherState::Ready
        | WatcherState::Running
        | WatcherState::WaitRecover
        | WatcherState::Stopping => {}
    }
    let ending = Ending::new(EndKind::Stopped, reason);
    let at_ms = api.shared.clock.now_ms();
    api.shared.inbox.request_end(ending, at_ms);
    let status = "stopping";
    Ok((StatusCode::ACCEPTED, Json(CommandReply { status })))
}

/// Returns the reason to stop, from a body that may be empty.
fn reason(body: &[u8]) -> Result<String, Failure> {
    let request: StopRequest = match body {
        [] => StopRequest::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            bad(format!(
                "the body is neither empty nor {{\"reason\": \"...\"}}: {error}"
            ))
        })?,
    };
    let reason = request
        .reason
        .unwrap_or_else(|| "asked over the API".into());
    if reason.is_empty() || reason.len() > REASON_LIMIT_BYTES {
        let bytes = reason.len();
        return Err(bad(format!(
            "the reason has {bytes} bytes: give 1 to {REASON_LIMIT_BYTES}, or leave it out"
        )));
    }
    Ok(reason)
}

/// Reads the whole body, if it is short enough, comes soon enough, and was not sent by a web page
/// in a person's browser: browsers name the page, other clients do not.
pub(super) async fn read_body(request: Request) -> Result<Bytes, Failure> {
    if request.headers().contains_key(ORIGIN) {
        let text = "web pages may not command a watcher: send it without an Origin header";
        return Err(Failure::new(StatusCode::FORBIDDEN, text));
    }
    let limited = Limited::new(request.into_body(), BODY_LIMIT_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {BODY_LIMIT_BYTES} bytes"),
        )),
        Ok(Err(error)) => Err(Failure::new(StatusCode::BAD_REQUEST, error)),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {BODY_TIMEOUT:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::base::clock::Clock;
    use crate::inbox::Inbox;
    use crate::shared::{Logbook, Shared};

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_is_over_cannot_be_stopped() {
        for state in WatcherState::ALL {
            let (clock, inbox) = (Clock::paused(0), Inbox::new(1));
            let shared = Shared::new("x".into(), clock, inbox, Logbook::new(None));
            shared.publish(state, 0, 0);
            let api = Arc::new(Api::new(Arc::new(shared), 0, Vec::new));
            let answer = stop(State(api.clone()), NoQuery, Request::default()).await;
            let is_over = matches!(
                state,
                WatcherState::Stopped | WatcherState::Killed | WatcherState::Crashed
            );
            let status = answer.map_or_else(|failure| failure.status.as_u16(), |_| 202);
            assert_eq!(status, if is_over { 409 } else { 202 }, "{state}");
            assert_eq!(api.shared.inbox.take_end().is_some(), !is_over);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let failure = read_body(Request::new(body)).await.unwrap_err();
        assert_eq!(failure.status, StatusCode::REQUEST_TIMEOUT);
    }
}
