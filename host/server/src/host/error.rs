//! The errors with which a host refuses.

use std::sync::Arc;

use hersh_journal::JournalError;
use hersh_machine::driver;
use hersh_program::{Cause, ProgramId, Refusal};
use hersh_storage::StorageError;
use tokio::task::JoinError;

use crate::programs::admission::QuotaError;

/// The owner is not among the users any more.
#[derive(Debug, thiserror::Error)]
#[error("what the owner may have is not known: {0}")]
pub(crate) struct QuotaUnknown(pub(super) String);

/// Why a program was not created. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error(transparent)]
    Owner(#[from] QuotaUnknown),
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("no program is named {0}; 'hersh ps' lists them")]
    NotFound(ProgramId),
    #[error("too many commands wait for this program; try again shortly")]
    QueueFull,
    #[error("{refusal}")]
    Refused {
        refusal: Refusal,
        state: &'static str,
    },
    #[error("still {state} after the time that was to be waited; it goes on by itself")]
    WaitTimedOut { state: &'static str },
    /// A roll-back without a number finds nothing to go back to.
    #[error(
        "no earlier revision of {0} is known to run well; 'hersh revisions {0}' lists those that are kept, and 'hersh rollback {0} N' starts one of them"
    )]
    NoEarlierRevision(ProgramId),
    /// The removal of a program ended, and the program is still there.
    #[error("the program is not removed: {}; remove it again", cause.as_ref().map_or("something else was asked for".to_owned(), ToString::to_string))]
    NotRemoved {
        cause: Option<Arc<Cause>>,
        state: &'static str,
    },
    /// The host ended before the command did.
    #[error("the host is shutting down; what was asked for before goes on when it is back")]
    ShuttingDown,
    #[error("the command could not be stored: {0}")]
    Journal(#[from] driver::JournalError),
    #[error("the command was interrupted: {0}")]
    Interrupted(JoinError),
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error(transparent)]
    Owner(#[from] QuotaUnknown),
}

/// Why new source was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error(transparent)]
    Owner(#[from] QuotaUnknown),
}

impl CommandError {
    /// Returns the program's state that is the reason for the error, if there is one.
    pub(crate) fn state(&self) -> Option<&'static str> {
        match self {
            Self::Refused { state, .. }
            | Self::WaitTimedOut { state }
            | Self::NotRemoved { state, .. } => Some(state),
            Self::NotFound(_)
            | Self::NoEarlierRevision(_)
            | Self::QueueFull
            | Self::ShuttingDown
            | Self::Journal(_)
            | Self::Interrupted(_)
            | Self::Quota(_)
            | Self::Owner(_) => None,
        }
    }
}
