//! The causes for which a start fails, by what storage and the runtime say.

use hersh_program::{Cause, Manifest};
use hersh_sandbox::StartError;
use hersh_storage::StorageError;

/// The message of storage that failed, without paths.
pub(super) enum StorageFailure {
    /// The disk had no room, which is no fault of the program.
    DiskFull(String),
    Other(String),
}

impl StorageFailure {
    pub(super) fn message(self) -> String {
        match self {
            Self::DiskFull(message) | Self::Other(message) => message,
        }
    }
}

impl From<StorageError> for StorageFailure {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "a program's folders can't be used");
        match error.is_disk_full() {
            true => Self::DiskFull(error.without_path()),
            false => Self::Other(error.without_path()),
        }
    }
}

pub(super) fn storage_cause(failure: StorageFailure) -> Cause {
    match failure {
        StorageFailure::DiskFull(message) => Cause::DiskFull { message },
        StorageFailure::Other(message) => start_failed_cause(message),
    }
}

/// Returns the cause of a failed start. A program that ended before it could be looked at was not ready
/// either.
pub(super) fn start_error_cause(error: StartError, manifest: &Manifest) -> Cause {
    match error {
        StartError::Ended(exit) => Cause::before_ready(&exit, &manifest.readiness),
        StartError::Violated(_)
        | StartError::Failed { .. }
        | StartError::NotRunnable { .. }
        | StartError::ImageGone(_)
        | StartError::Unavailable(_) => error.into(),
    }
}

pub(super) fn start_failed_cause(message: String) -> Cause {
    Cause::StartFailed {
        message,
        logs: Vec::new(),
    }
}
