//! Answers in JSON.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::shared::SignalKind;

use crate::SendError;
use crate::base::clock::rfc3339;

/// A time, shown as RFC 3339 in milliseconds.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(super) struct Timestamp(pub(super) SystemTime);

impl Timestamp {
    /// Returns the time that is this many milliseconds after the Unix epoch.
    pub(super) fn from_ms(ms: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_millis(ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&rfc3339(self.0))
    }
}

/// An answer `{error}` with its status.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

/// What is wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorReply {
    /// One sentence: what was wrong, and what to do.
    error: String,
}

impl Failure {
    /// Returns a failure with its sentence.
    pub(super) fn new(status: StatusCode, message: impl Display) -> Self {
        Self {
            status,
            message: message.to_string(),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let status = match &error {
            SendError::QueueFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
            SendError::NotRunning => StatusCode::CONFLICT,
            SendError::Empty | SendError::Key => StatusCode::BAD_REQUEST,
            SendError::Unreadable { .. } | SendError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            SendError::Unkept { .. } => StatusCode::INSUFFICIENT_STORAGE,
            SendError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self::new(status, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(ErrorReply {
            error: self.message,
        });
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Returns the name of a kind of signal, as clients read it.
pub(super) fn kind_name(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Var => "var",
        SignalKind::User => "user",
        SignalKind::Effect => "effect",
        SignalKind::Timer => "timer",
        SignalKind::Watcher => "watcher",
    }
}
