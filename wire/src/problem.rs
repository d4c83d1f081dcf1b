//! Problem details (RFC 9457) with stable codes.

use serde::{Deserialize, Serialize};

/// What went wrong, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{detail}")]
pub struct Problem {
    /// Stable code for programs.
    pub code: Code,
    /// The HTTP status.
    pub status: u16,
    /// A short title, the same for every problem of this code.
    pub title: String,
    /// What was wrong, where, and what to do next.
    pub detail: String,
    /// The program's state, where that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Stable codes of the API's problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request can't be read.
    BadRequest,
    /// The manifest asks for something that can't be.
    BadManifest,
    /// The source can't be taken.
    BadSource,
    /// The token is missing, malformed or unknown.
    Unauthorized,
    /// The token is valid and may not do this.
    Forbidden,
    /// Too many requests without a valid token came from this address.
    RateLimited,
    /// The user's quota does not allow it.
    QuotaExceeded,
    /// No such program, or not yours.
    NotFound,
    /// No version of the API that the request accepts is spoken here.
    NotAcceptable,
    /// The idempotency key belongs to another request.
    IdempotencyMismatch,
    /// The body came too slowly.
    RequestTimeout,
    /// The route exists but not with this method.
    MethodNotAllowed,
    /// A program of that name exists.
    AlreadyExists,
    /// The program is in a state in which this can't be done.
    Conflict,
    /// The request's body or headers are larger than allowed.
    TooLarge,
    /// The program isn't Ready, so nothing can be forwarded to it.
    NotReady,
    /// The program's answer could not be understood or its connection broke.
    BadGateway,
    /// The program did not answer in time.
    GatewayTimeout,
    /// The program's queue of commands is full.
    QueueFull,
    /// The container engine does not answer.
    EngineUnavailable,
    /// The host is ending; try again when it is back.
    ShuttingDown,
    /// The disk is full.
    StorageFull,
    /// What was waited for did not happen within the time asked.
    WaitTimedOut,
    /// A defect in Hersh; the host's log has the details.
    Internal,
}

impl Code {
    /// Returns the HTTP status that goes with the code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::BadManifest | Self::BadSource => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::QuotaExceeded => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestTimeout => 408,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::IdempotencyMismatch => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::NotReady | Self::QueueFull | Self::EngineUnavailable | Self::ShuttingDown => 503,
            Self::GatewayTimeout | Self::WaitTimedOut => 504,
            Self::StorageFull => 507,
        }
    }

    /// Returns the code's name in problem details.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadManifest => "bad_manifest",
            Self::BadSource => "bad_source",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::NotFound => "not_found",
            Self::NotAcceptable => "not_acceptable",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::RequestTimeout => "request_timeout",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::NotReady => "not_ready",
            Self::BadGateway => "bad_gateway",
            Self::GatewayTimeout => "gateway_timeout",
            Self::QueueFull => "queue_full",
            Self::EngineUnavailable => "engine_unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::StorageFull => "storage_full",
            Self::WaitTimedOut => "wait_timed_out",
            Self::Internal => "internal",
        }
    }

    /// Returns the title that goes with the code.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request can't be read",
            Self::BadManifest => "The manifest can't be used",
            Self::BadSource => "The source can't be taken",
            Self::Unauthorized => "A valid token is needed",
            Self::Forbidden => "Not allowed with this token",
            Self::RateLimited => "Too many failures",
            Self::QuotaExceeded => "The quota does not allow it",
            Self::NotFound => "Not found",
            Self::NotAcceptable => "No such version of the API",
            Self::IdempotencyMismatch => "The idempotency key was used for something else",
            Self::RequestTimeout => "The request came too slowly",
            Self::MethodNotAllowed => "Method not allowed",
            Self::AlreadyExists => "The name is taken",
            Self::Conflict => "Not possible in this state",
            Self::TooLarge => "Too large",
            Self::NotReady => "The program is not Ready",
            Self::BadGateway => "The program's answer is broken",
            Self::GatewayTimeout => "The program did not answer",
            Self::QueueFull => "Too many commands wait",
            Self::ShuttingDown => "The host is shutting down",
            Self::EngineUnavailable => "The container engine does not answer",
            Self::StorageFull => "The disk is full",
            Self::WaitTimedOut => "Still not settled",
            Self::Internal => "Internal error",
        }
    }
}

impl Problem {
    /// Returns a problem of `code`. `detail` says what was wrong, where, and what to do next.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            title: code.title().to_string(),
            detail: detail.into(),
            state: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_named_as_it_is_written() {
        for code in [
            Code::BadRequest,
            Code::BadManifest,
            Code::BadSource,
            Code::Unauthorized,
            Code::Forbidden,
            Code::RateLimited,
            Code::QuotaExceeded,
            Code::NotFound,
            Code::NotAcceptable,
            Code::IdempotencyMismatch,
            Code::RequestTimeout,
            Code::MethodNotAllowed,
            Code::AlreadyExists,
            Code::Conflict,
            Code::TooLarge,
            Code::NotReady,
            Code::BadGateway,
            Code::GatewayTimeout,
            Code::QueueFull,
            Code::EngineUnavailable,
            Code::ShuttingDown,
            Code::StorageFull,
            Code::WaitTimedOut,
            Code::Internal,
        ] {
            let written = serde_json::to_value(code).unwrap();
            assert_eq!(written, code.name());
        }
    }
}
