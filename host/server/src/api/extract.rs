//! Extractors that parse paths, queries and bodies into types before a handler sees them.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, header, request::Parts},
};
use hersh_base::permits::Permit;
use hersh_program::ProgramId;
use hersh_wire::{Code, Span};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::{JSON_BYTES_MAX, lists::NoLists, problem::Failure};
use crate::{
    auth::Caller,
    host::{Host, ProgramEntry},
};

/// The program that the path names, if the caller may see it.
pub(super) struct OwnedProgram(pub(super) Arc<ProgramEntry>);

/// The query of a request. A query with an unknown key or a bad value is refused, and the answer names it.
pub(super) struct Params<T>(pub(super) T);

/// A JSON body of at most [`JSON_BYTES_MAX`] bytes.
pub(super) struct Body<T>(pub(super) T);

/// The longest time that a JSON body may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Hold the answer until the program has settled, at most this long (`30s`, at most `1h`).
    #[param(value_type = Option<String>)]
    wait: Option<Span>,
}

/// The longest time that a request may wait for a program to settle, milliseconds.
const WAIT_MAX_MS: u64 = 60 * 60_000;

/// The wait of a request for a program to settle, with the permit that the caller took for it.
pub(super) struct SettleWait {
    /// The longest time that the request waits.
    pub(super) time: Duration,
    _permit: Permit,
}

impl Wait {
    /// Returns a wait that a query of another form asks for.
    pub(super) fn of(wait: Option<Span>) -> Self {
        Self { wait }
    }

    /// Takes a permit for the wait; `None` if the caller asks for no wait.
    ///
    /// # Errors
    /// A [`Failure`] for a wait that is too long, and when no permit is free for the caller.
    pub(super) fn hold(&self, host: &Host, caller: &Caller) -> Result<Option<SettleWait>, Failure> {
        let Some(Span(ms)) = self.wait else {
            return Ok(None);
        };
        if ms > WAIT_MAX_MS {
            let detail = "wait is longer than an hour; use at most 1h";
            return Err(Failure::new(Code::BadRequest, detail));
        }
        let permit = host
            .permits()
            .waits
            .take(&caller.user, caller.role.share())
            .ok_or_else(|| {
                let detail =
                    "too many requests wait for programs; leave wait out, or try again later";
                Failure::new(Code::QueueFull, detail)
            })?;
        let time = Duration::from_millis(ms);
        Ok(Some(SettleWait {
            time,
            _permit: permit,
        }))
    }
}

/// The number of entries that one page shows.
pub(super) struct Limit;

impl Limit {
    const USUAL: usize = 100;
    const MAX: usize = 1_000;

    /// Returns the number that was asked for, or the usual one.
    pub(super) fn of(asked: Option<usize>) -> Result<usize, Failure> {
        let limit = asked.unwrap_or(Self::USUAL);
        if (1..=Self::MAX).contains(&limit) {
            return Ok(limit);
        }
        let detail = format!("limit = {limit}: use 1 to {}", Self::MAX);
        Err(Failure::new(Code::BadRequest, detail))
    }
}

impl FromRequestParts<Host> for OwnedProgram {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Failure> {
        let Extension(caller) = Extension::<Caller>::from_request_parts(parts, host)
            .await
            .map_err(|error| Failure::internal(&error))?;
        let Path(fields) = Path::<Vec<(String, String)>>::from_request_parts(parts, host)
            .await
            .map_err(|error| Failure::new(Code::NotFound, error.to_string()))?;
        let text = fields
            .iter()
            .find(|(name, _)| name == "id")
            .map_or("", |(_, id)| id);
        // An id that can't exist gets the same answer as one that does not exist.
        let id = ProgramId::parse(text)
            .map_err(|error| Failure::new(Code::NotFound, format!("no such program: {error}")))?;
        Ok(Self(host.get(&caller, &id)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Query::<T>::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|error| Failure::new(Code::BadRequest, error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let declared = request.headers().get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|bytes| bytes > JSON_BYTES_MAX) {
            return Err(too_large());
        }
        let (parts, body) = request.into_parts();
        let body = axum::body::Body::new(http_body_util::Limited::new(body, JSON_BYTES_MAX));
        json(Request::from_parts(parts, body), state)
            .await
            .map(Self)
    }
}

/// Reads a JSON body. How large it may be is up to the limit that the request carries.
pub(super) async fn json<T: DeserializeOwned, S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<T, Failure> {
    let read = Json::<Box<RawValue>>::from_request(request, state);
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, read).await else {
        let detail = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
        return Err(Failure::new(Code::RequestTimeout, detail));
    };
    let refuse = |error: JsonRejection| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Failure::new(Code::BadRequest, error.body_text()),
    };
    let Json(raw) = read.map_err(refuse)?;
    let Json(NoLists) = Json::from_bytes(raw.get().as_bytes()).map_err(refuse)?;
    let Json(value) = Json::from_bytes(raw.get().as_bytes()).map_err(refuse)?;
    Ok(value)
}

fn too_large() -> Failure {
    Failure::new(Code::TooLarge, "the body is larger than this call takes")
}
