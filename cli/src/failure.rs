//! How a command fails, and its exit code.

use hersh_wire::{Code, Problem};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation failed.
    Failed(String),
    /// What was given can't be used.
    Input(String),
    /// No token, or none that can be read.
    Token(String),
    /// The host does not answer.
    Unreachable(String),
    /// The host can't do it now.
    Unavailable(String),
    /// The host refused.
    Refused(Problem),
    /// Somebody pressed Ctrl-C.
    Interrupted(String),
}

impl Failure {
    /// The exit code, as `hersh --help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Input(_) => 3,
            Self::Token(_) => 5,
            Self::Unreachable(_) => 6,
            Self::Unavailable(_) => 7,
            Self::Interrupted(_) => 130,
            Self::Refused(problem) => match problem.code {
                Code::BadRequest
                | Code::BadManifest
                | Code::BadSource
                | Code::TooLarge
                | Code::QuotaExceeded
                | Code::IdempotencyMismatch
                | Code::AlreadyExists => 3,
                Code::NotFound => 4,
                Code::Unauthorized | Code::Forbidden => 5,
                Code::EngineUnavailable
                | Code::ShuttingDown
                | Code::StorageFull
                | Code::QueueFull
                | Code::RateLimited => 7,
                Code::MethodNotAllowed
                | Code::NotAcceptable
                | Code::RequestTimeout
                | Code::Conflict
                | Code::NotReady
                | Code::BadGateway
                | Code::GatewayTimeout
                | Code::WaitTimedOut
                | Code::Internal => 1,
            },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(message)
            | Self::Input(message)
            | Self::Token(message)
            | Self::Unreachable(message)
            | Self::Unavailable(message)
            | Self::Interrupted(message) => f.write_str(message),
            Self::Refused(problem) if problem.code == Code::Unauthorized => f.write_str(
                "the host refused the token; set HERSH_TOKEN, or name the file that holds it with --token-file",
            ),
            Self::Refused(problem) => f.write_str(&problem.detail),
        }
    }
}
