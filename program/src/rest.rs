//! The details of a program at rest, and of one that failed.

use alloc::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{Cause, Exit};

/// A program at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The end of the program's container, when it ended by itself.
    pub last_exit: Option<Arc<Exit>>,
}

/// A program that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The cause of the failure.
    pub cause: Arc<Cause>,
    /// The next retry, when there is one.
    pub retry: Option<Retry>,
    /// The reason why the failed program could not be stopped either. While it is set, something of the
    /// program may still run.
    #[serde(default)]
    pub not_stopped: Option<Arc<Cause>>,
}

/// A retry that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The `ScheduleRetry` that waits for this retry.
    pub op: OpId,
    /// The time at which the retry is due.
    pub due_ms: u64,
}

/// What a program was while nothing was under way in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub enum Rest {
    /// It had never been started.
    Created,
    /// It was stopped.
    Stopped(Stopped),
    /// It had failed, and waited for a person.
    Failed(Failed),
}

impl Rest {
    /// Returns the end of the program's last container, when it ended by itself.
    pub(crate) fn last_exit(&self) -> Option<Arc<Exit>> {
        match self {
            Self::Created | Self::Failed(_) => None,
            Self::Stopped(stopped) => stopped.last_exit.clone(),
        }
    }
}
