//! How the operations of a [`Runtime`](crate::Runtime) fail.

use hersh_program::{Cause, Exit, ImageId, Logs};

use crate::Violation;

/// The engine that runs instances and builds images can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// The text that says what was tried, what came back and what to do.
    pub message: String,
}

/// An image was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A step of the Dockerfile failed, or the Dockerfile itself is wrong.
    #[error("{message}")]
    Failed {
        /// What the builder said.
        message: String,
        /// The end of the build log.
        logs: Logs,
    },
    /// An image that the build needs could not be fetched, because its registry did not answer.
    #[error("{message}")]
    RegistryUnavailable {
        /// Which image, and what the builder said.
        message: String,
        /// The end of the build log.
        logs: Logs,
    },
    /// The request was cancelled; nothing of the build is left.
    #[error("the build was cancelled")]
    Cancelled,
    /// The context or the log file could not be read or written.
    #[error("the build's files can't be used: {message}")]
    Files {
        /// Which file, and what the file system said.
        message: String,
    },
    /// The engine does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A program was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The spec, or the instance made from it, breaks a contract.
    #[error(transparent)]
    Violated(#[from] Violation),
    /// The engine could not create or start the container.
    #[error("{message}")]
    Failed {
        /// What the engine said.
        message: String,
        /// The last lines that the program printed, if it got that far.
        logs: Logs,
    },
    /// The command that the image names as its program can't be run.
    #[error("{message}")]
    NotRunnable {
        /// What can't be run, why, and what to do.
        message: String,
    },
    /// The image is not in the engine any more.
    #[error("the image {0} is gone")]
    ImageGone(ImageId),
    /// The program's process ended before its kernel could be looked at.
    #[error("the program ended at once")]
    Ended(Exit),
    /// The engine does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Something could not be removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The engine refused.
    #[error("{message}")]
    Failed {
        /// The text that says what was asked and what the engine answered.
        message: String,
    },
    /// The engine does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<Unavailable> for Cause {
    fn from(error: Unavailable) -> Self {
        Self::RuntimeUnavailable {
            message: error.message,
        }
    }
}

impl From<StartError> for Cause {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Violated(violation) => Self::ContractViolated {
                contract: violation.contract.name().to_owned(),
                // The cause names the contract in a field of its own, so the message does not.
                message: format!("found {}, asked {}", violation.found, violation.asked),
            },
            StartError::Failed { message, logs } => Self::StartFailed { message, logs },
            StartError::NotRunnable { message } => Self::NotRunnable { message },
            StartError::ImageGone(image) => Self::ImageGone { image },
            StartError::Ended(exit) => Self::from(&exit),
            StartError::Unavailable(error) => error.into(),
        }
    }
}

impl From<StopError> for Cause {
    fn from(error: StopError) -> Self {
        match error {
            StopError::Failed { message } => Self::StopFailed { message },
            StopError::Unavailable(error) => error.into(),
        }
    }
}
