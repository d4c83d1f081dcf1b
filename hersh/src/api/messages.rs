//! Messages: sent, waited for, and what became of those that no run could take in.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::commands::{CommandReply, read_body};
use super::query::{NoQuery, bad, pairs};
use super::reply::{ErrorReply, Failure, Timestamp};
use super::state::Api;
use crate::store::{Commit, KeptMessage, MailChange, MessageEnd, SetAside};
use crate::{Message, Receipt, SendError};

/// The header that names a message, so that it counts once however often it is sent.
const KEY: &str = "idempotency-key";
/// The longest time that a client may wait for a run: shorter than the 30 s that the host's proxy waits for an
/// answer.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// Most messages that are shown of a kind.
const SHOWN: usize = 100;
/// Most characters of a message that are shown.
const SHOWN_CHARS: usize = 1_000;

#[derive(Deserialize, ToSchema)]
pub(super) struct MessageRequest {
    /// The message, 1 byte to 64 KiB.
    content: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageReply {
    /// `message sent`; with `wait=run` also `done`, or `waiting` when the wait is over first.
    status: &'static str,
    /// Whether it is on disk: it has its run even if the machine loses its power now.
    durable: bool,
    /// Counts the messages of the watcher.
    number: u64,
    /// Whether it came before under its key: nothing new was queued.
    repeated: bool,
    /// The number of its run, once that is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    /// What the run replied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    reply: Option<Box<RawValue>>,
}

/// What the sender of a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Until it is queued; with a state folder, on disk.
    Accepted,
    /// Until its run is committed.
    Run,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InboxReply {
    /// How many messages wait for their runs.
    waiting: usize,
    /// How many were set aside, because all their runs failed.
    set_aside: usize,
    /// Whether messages are on disk before they are accepted.
    durable: bool,
    /// The 100 oldest of those that were set aside.
    messages: Vec<MessageShown>,
    timestamp: Timestamp,
}

/// A message that was set aside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageShown {
    number: u64,
    /// Its first 1,000 characters.
    content: String,
    /// What its last run failed with.
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<Arc<str>>,
    received_at: Timestamp,
}

/// Queues a message: it has exactly one run that counts.
#[utoipa::path(
    post,
    path = "/watcher/message",
    params(
        ("wait" = Option<String>, Query, description = "`run`: answer once its run is committed, with what it replied; after 25 s with status 202"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters: a message that comes again under its key within a day is the same one"),
    ),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "It is accepted; with wait=run, its run is committed", body = MessageReply),
        (status = 202, description = "It is accepted, and its run is not committed yet", body = MessageReply),
        (status = 400, description = "It is empty or malformed, or so is its key or the query", body = ErrorReply),
        (status = 403, description = "It comes from a web page", body = ErrorReply),
        (status = 408, description = "Its body came too slowly", body = ErrorReply),
        (status = 409, description = "The watcher is not running", body = ErrorReply),
        (status = 413, description = "It is too long", body = ErrorReply),
        (status = 422, description = "The watcher cannot read it, its runs failed and it was set aside, or another message came under its key", body = ErrorReply),
        (status = 503, description = "The queue is full: see Retry-After", body = ErrorReply),
        (status = 507, description = "It could not be written to the disk", body = ErrorReply),
    )
)]
pub(super) async fn message(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<(StatusCode, Json<MessageReply>), Failure> {
    let wait = wait(request.uri())?;
    let key = key(request.headers())?;
    let body = read_body(request).await?;
    let request: MessageRequest = serde_json::from_slice(&body)
        .map_err(|error| bad(format!("the body is no {{\"content\": \"...\"}}: {error}")))?;
    let mut message = Message::new(request.content);
    message.key = key;
    match wait {
        Wait::Accepted => {
            let receipt = api.shared.post(message, None).await?;
            Ok((
                StatusCode::OK,
                Json(MessageReply::of(receipt, "message sent")),
            ))
        }
        Wait::Run => {
            let (told, end) = oneshot::channel();
            let receipt = api.shared.post(message, Some(told)).await?;
            answer(receipt, tokio::time::timeout(WAIT_MAX, end).await.ok())
        }
    }
}

/// Shows how many messages wait, and those that were set aside.
#[utoipa::path(
    get,
    path = "/watcher/inbox",
    responses(
        (status = 200, description = "How many there are, and the oldest that were set aside", body = InboxReply),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn inbox(State(api): State<Arc<Api>>, _: NoQuery) -> Json<InboxReply> {
    let shared = &api.shared;
    let (set_aside, oldest) = shared.post_office.look(|mail| {
        let oldest = mail.set_aside().take(SHOWN);
        let oldest = oldest.map(|(number, aside)| (number, aside.clone()));
        (mail.set_aside().count(), oldest.collect::<Vec<_>>())
    });
    Json(InboxReply {
        waiting: shared.inbox.waiting(),
        set_aside,
        durable: shared.keeper.is_durable(),
        messages: oldest.into_iter().map(shown).collect(),
        timestamp: Timestamp(shared.clock.wall()),
    })
}

/// Sends a message again that was set aside.
#[utoipa::path(
    post,
    path = "/watcher/inbox/{number}/again",
    params(("number" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "It waits for its run", body = CommandReply),
        (status = 400, description = "The number is none, or there is a query", body = ErrorReply),
        (status = 403, description = "It comes from a web page", body = ErrorReply),
        (status = 404, description = "No such message was set aside", body = ErrorReply),
        (status = 408, description = "Its body came too slowly", body = ErrorReply),
        (status = 409, description = "The watcher is not running", body = ErrorReply),
        (status = 413, description = "Its body is too long", body = ErrorReply),
        (status = 507, description = "It could not be noted on the disk", body = ErrorReply),
    )
)]
pub(super) async fn again(
    state: State<Arc<Api>>,
    number: Path<String>,
    query: NoQuery,
    request: Request,
) -> Result<Json<CommandReply>, Failure> {
    change(
        state,
        number,
        query,
        request,
        MailChange::SentAgain,
        "waits again",
    )
    .await
}

/// Drops a message for good that was set aside.
#[utoipa::path(
    post,
    path = "/watcher/inbox/{number}/drop",
    params(("number" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "It is gone", body = CommandReply),
        (status = 400, description = "The number is none, or there is a query", body = ErrorReply),
        (status = 403, description = "It comes from a web page", body = ErrorReply),
        (status = 404, description = "No such message was set aside", body = ErrorReply),
        (status = 408, description = "Its body came too slowly", body = ErrorReply),
        (status = 409, description = "The watcher is not running", body = ErrorReply),
        (status = 413, description = "Its body is too long", body = ErrorReply),
        (status = 507, description = "It could not be noted on the disk", body = ErrorReply),
    )
)]
pub(super) async fn drop_message(
    state: State<Arc<Api>>,
    number: Path<String>,
    query: NoQuery,
    request: Request,
) -> Result<Json<CommandReply>, Failure> {
    change(
        state,
        number,
        query,
        request,
        MailChange::Dropped,
        "dropped",
    )
    .await
}

async fn change(
    State(api): State<Arc<Api>>,
    Path(number): Path<String>,
    _: NoQuery,
    request: Request,
    change: fn(u64) -> MailChange,
    status: &'static str,
) -> Result<Json<CommandReply>, Failure> {
    read_body(request).await?;
    let number = number
        .parse()
        .map_err(|_| bad(format!("{number:?} is no number of a message")))?;
    let shared = &api.shared;
    if shared.inbox.is_closed() {
        return Err(SendError::NotRunning.into());
    }
    let is_aside = shared
        .post_office
        .look(|mail| mail.get_set_aside(number).is_some());
    if !is_aside {
        let text =
            format!("no message {number} was set aside: GET /watcher/inbox shows those that were");
        return Err(Failure::new(StatusCode::NOT_FOUND, text));
    }
    let commit = Commit::of_mail(change(number));
    match shared.keeper.commit_alone(Arc::new(commit)).await {
        Ok(_) => Ok(Json(CommandReply { status })),
        Err(problem) => Err(SendError::Unkept { problem }.into()),
    }
}

/// Returns the answer to a message whose run was waited for; `end` is missing when the wait was over first.
fn answer(
    receipt: Receipt,
    end: Option<Result<MessageEnd, oneshot::error::RecvError>>,
) -> Result<(StatusCode, Json<MessageReply>), Failure> {
    let reply = MessageReply::of(receipt, "waiting");
    let run = match end {
        None => return Ok((StatusCode::ACCEPTED, Json(reply))),
        Some(Ok(MessageEnd::Ran(run))) => run,
        Some(Ok(MessageEnd::SetAside(reason))) => {
            let text = format!("message {} was set aside: {reason}", receipt.number);
            return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        Some(Err(_)) => {
            let text = match receipt.durable {
                true => "the watcher ended before its run; it has its run in the next life",
                false => "the watcher ended before its run; the message is lost",
            };
            return Err(Failure::new(StatusCode::CONFLICT, text));
        }
    };
    let json = run
        .reply
        .map(|json| RawValue::from_string(json.to_string()));
    let json = json
        .transpose()
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let reply = MessageReply {
        status: "done",
        run: Some(run.run),
        reply: json,
        ..reply
    };
    Ok((StatusCode::OK, Json(reply)))
}

fn wait(uri: &Uri) -> Result<Wait, Failure> {
    let pairs = pairs(uri, &["wait"])?;
    match pairs.first().map(|(_, value)| value.as_str()) {
        None => Ok(Wait::Accepted),
        Some("run") => Ok(Wait::Run),
        Some(other) => {
            let other: String = other.chars().take(50).collect();
            Err(bad(format!("wait is {other:?}: give run, or leave it out")))
        }
    }
}

/// Returns the idempotency key of a request. Whether it is usable is looked at with the message.
fn key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if keys.next().is_none() => Ok(Some(key.into())),
        Ok(_) | Err(_) => Err(SendError::Key.into()),
    }
}

fn shown((number, aside): (u64, SetAside)) -> MessageShown {
    let SetAside { message, reason } = aside;
    let KeptMessage {
        content,
        at_ms,
        key,
        fatal: _,
    } = message;
    MessageShown {
        number,
        content: content.chars().take(SHOWN_CHARS).collect(),
        reason: reason.chars().take(SHOWN_CHARS).collect(),
        key,
        received_at: Timestamp::from_ms(at_ms),
    }
}

impl MessageReply {
    fn of(receipt: Receipt, status: &'static str) -> Self {
        Self {
            status,
            durable: receipt.durable,
            number: receipt.number,
            repeated: receipt.repeated,
            run: None,
            reply: None,
        }
    }
}
