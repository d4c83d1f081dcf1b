//! Failures as problem details. The conversions in this module give each error its code.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hersh_journal::JournalError;
use hersh_machine::driver;
use hersh_program::{Cause, Refusal};
use hersh_proxy::ForwardError;
use hersh_storage::{SourceError, StateCopyError, StateFileError, StorageError};
use hersh_wire::{Code, Problem};

use crate::{
    auth::AccountError,
    disks::DiskFullError,
    host::{CommandError, CopyError, CreateError, ReplaceError},
    words::without_folders,
};
use hersh_manifest::ManifestError;
use hersh_sandbox::{StopError, Unavailable};

/// A problem that is sent as an answer.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Problem,
    retry_after_s: Option<u64>,
    allowed_methods: Option<Box<str>>,
    closes: bool,
}

impl Failure {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let problem = Problem::new(code, without_folders(&detail.into()));
        Self {
            retry_after_s: (problem.status == 503).then_some(1),
            problem,
            allowed_methods: None,
            closes: false,
        }
    }

    /// Logs the error and returns a failure without its details: they are for the host's log, not for the
    /// client.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(
            Code::Internal,
            "the host could not do this; its log says why",
        )
    }

    /// Logs the error and returns the failure for a full disk. The folder on that disk is for the host's
    /// log, not for the client.
    fn disk_full(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a disk is full");
        Self::new(
            Code::StorageFull,
            "the host's disk is full; try again when whoever runs it has made room",
        )
    }

    pub(super) fn in_state(mut self, state: &str) -> Self {
        self.problem.state = Some(state.to_string());
        self
    }

    /// Names the methods that are possible, in an `Allow` header.
    pub(super) fn allow(mut self, methods: String) -> Self {
        self.allowed_methods = Some(methods.into());
        self
    }

    /// Makes the answer the last one of its connection.
    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Says after how many seconds the client may try again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self.problem)).into_response();
        // The code goes along for metrics and log, which see only the finished answer.
        response.extensions_mut().insert(self.problem.code);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let allowed = self.allowed_methods;
        if let Some(allowed) = allowed.and_then(|it| HeaderValue::from_str(&it).ok()) {
            headers.insert(header::ALLOW, allowed);
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::new(Code::BadManifest, error.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            SourceError::TooLarge { .. } | SourceError::TooManyEntries { .. } => Code::TooLarge,
            SourceError::Refused { .. }
            | SourceError::Unreadable { .. }
            | SourceError::MissingDockerfile { .. } => Code::BadSource,
            SourceError::DiskFull { .. } => return Self::disk_full(&error),
            SourceError::Storage(error) => return Self::internal(error),
        };
        Self::new(code, error.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        if error.is_disk_full() {
            return Self::disk_full(&error);
        }
        Self::internal(&error)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Exists(_) => Self::new(
                Code::AlreadyExists,
                format!("{error}; choose another name, or replace its source with PUT"),
            ),
            JournalError::NoOwner(_) => Self::new(Code::Forbidden, error.to_string()),
            JournalError::Revoked => Self::new(Code::Unauthorized, error.to_string()),
            JournalError::Full => Self::new(Code::StorageFull, error.to_string()),
            JournalError::Closed => Self::new(
                Code::ShuttingDown,
                "the host is shutting down; nothing has changed, try again when it is back",
            ),
            JournalError::Sqlite(_)
            | JournalError::BadRow { .. }
            | JournalError::Unreadable { .. }
            | JournalError::Diverged { .. } => Self::internal(&error),
        }
    }
}

impl From<DiskFullError> for Failure {
    fn from(error: DiskFullError) -> Self {
        Self::new(Code::StorageFull, error.to_string())
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::new(Code::EngineUnavailable, error.to_string())
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Storage(error) => error.into(),
            CreateError::Journal(error) => error.into(),
            CreateError::Quota(error) => Self::new(Code::QuotaExceeded, error.to_string()),
            CreateError::Owner(error) => Self::new(Code::Forbidden, error.to_string()),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::NotFound(_) => Code::NotFound,
            CommandError::QueueFull => Code::QueueFull,
            CommandError::Refused { refusal, .. } => match refusal {
                Refusal::NoSuchRevision { .. } => Code::NotFound,
                Refusal::Already { .. } | Refusal::Busy { .. } | Refusal::BeingRemoved => {
                    Code::Conflict
                }
            },
            CommandError::NoEarlierRevision(_) => Code::Conflict,
            CommandError::WaitTimedOut { .. } => Code::WaitTimedOut,
            CommandError::ShuttingDown => Code::ShuttingDown,
            CommandError::NotRemoved { cause, .. } => match cause.as_deref() {
                Some(Cause::RuntimeUnavailable { .. }) => Code::EngineUnavailable,
                Some(_) | None => Code::Conflict,
            },
            CommandError::Journal(driver::JournalError::Full) => Code::StorageFull,
            CommandError::Journal(driver::JournalError::Closed) => Code::ShuttingDown,
            CommandError::Journal(driver::JournalError::Revoked) => {
                return JournalError::Revoked.into();
            }
            CommandError::Journal(driver::JournalError::Other(_))
            | CommandError::Interrupted(_) => return Self::internal(&error),
            CommandError::Quota(_) => Code::QuotaExceeded,
            CommandError::Owner(_) => Code::Forbidden,
        };
        let failure = Self::new(code, error.to_string());
        match error.state() {
            Some(state) => failure.in_state(state),
            None => failure,
        }
    }
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Storage(error) => error.into(),
            ReplaceError::Command(error) => error.into(),
            ReplaceError::Quota(error) => Self::new(Code::QuotaExceeded, error.to_string()),
            ReplaceError::Owner(error) => Self::new(Code::Forbidden, error.to_string()),
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        let state = match &error {
            CopyError::OnItsWay { state }
            | CopyError::NotAtRest { state }
            | CopyError::Changed { state } => Some(*state),
            CopyError::BeingCopied
            | CopyError::KeepsNothing
            | CopyError::Ending
            | CopyError::File(_)
            | CopyError::NotPaused(_)
            | CopyError::NotUnpaused(_)
            | CopyError::NotMeasured(_)
            | CopyError::Copy(_)
            | CopyError::Storage(_)
            | CopyError::Space(_)
            | CopyError::Journal(_)
            | CopyError::Interrupted(_) => None,
        };
        let said = error.to_string();
        let code = match error {
            CopyError::BeingCopied
            | CopyError::KeepsNothing
            | CopyError::OnItsWay { .. }
            | CopyError::NotAtRest { .. }
            | CopyError::Changed { .. }
            | CopyError::File(StateFileError::IsFolder(_) | StateFileError::NoRoom(_)) => {
                Code::Conflict
            }
            CopyError::Ending => Code::ShuttingDown,
            CopyError::File(StateFileError::Path(_)) => Code::BadRequest,
            CopyError::File(StateFileError::NoFolder(_)) => Code::NotFound,
            CopyError::NotPaused(StopError::Unavailable(_))
            | CopyError::NotUnpaused(StopError::Unavailable(_))
            | CopyError::NotMeasured(_) => Code::EngineUnavailable,
            CopyError::NotPaused(StopError::Failed { .. })
            | CopyError::NotUnpaused(StopError::Failed { .. }) => Code::Conflict,
            CopyError::Copy(StateCopyError::DiskFull) => Code::StorageFull,
            CopyError::Copy(StateCopyError::Storage(error))
            | CopyError::File(StateFileError::Storage(error))
            | CopyError::Storage(error) => {
                return error.into();
            }
            CopyError::Copy(
                StateCopyError::TooLarge(_)
                | StateCopyError::TooMany
                | StateCopyError::TooSlow
                | StateCopyError::Changed,
            ) => Code::Conflict,
            CopyError::Space(error) => return error.into(),
            CopyError::Journal(error) => return error.into(),
            CopyError::Interrupted(error) => return Self::internal(&error),
        };
        let failure = Self::new(code, said);
        match state {
            Some(state) => failure.in_state(state),
            None => failure,
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let code = match error {
            AccountError::NoUser(_) | AccountError::NoToken(_) => Code::NotFound,
            AccountError::UserExists(_) => Code::AlreadyExists,
            AccountError::HasPrograms { .. } | AccountError::LastAdmin(_) => Code::Conflict,
            AccountError::MemberScope(_) => Code::Forbidden,
            AccountError::TokenMadeOthers { .. } => Code::Conflict,
            AccountError::TooManyTokens(_) | AccountError::TooManyUsers => Code::QuotaExceeded,
            AccountError::Random(error) => return Self::internal(&error),
            AccountError::Interrupted(error) => return Self::internal(&error),
            AccountError::Journal(error) => return error.into(),
        };
        Self::new(code, error.to_string())
    }
}

impl From<ForwardError> for Failure {
    fn from(error: ForwardError) -> Self {
        let code = match &error {
            ForwardError::Path(_) => Code::NotFound,
            ForwardError::Method => Code::MethodNotAllowed,
            ForwardError::Malformed(_) | ForwardError::Upgrade(_) | ForwardError::BodyBroken => {
                Code::BadRequest
            }
            ForwardError::Origin => Code::Forbidden,
            ForwardError::Revoked => Code::Unauthorized,
            ForwardError::BodyTooLarge(_) => Code::TooLarge,
            ForwardError::BodyLate(_) => Code::RequestTimeout,
            ForwardError::Busy | ForwardError::TunnelsBusy => Code::QueueFull,
            ForwardError::Ended => Code::NotReady,
            ForwardError::Unreachable(_) | ForwardError::Broken(_) => Code::BadGateway,
            ForwardError::Late(_) => Code::GatewayTimeout,
        };
        Self::new(code, error.to_string())
    }
}
