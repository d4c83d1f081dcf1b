//! Answers in JSON.

use std::fmt::Display;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::SendError;

/// `{error}` with its status.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

#[derive(Serialize)]
struct Body {
    error: String,
}

impl Failure {
    /// A failure with its sentence.
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
            SendError::Empty => StatusCode::BAD_REQUEST,
            SendError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self::new(status, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(Body {
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
