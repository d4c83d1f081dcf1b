//! What a watcher's engine asks of its runner.

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use super::state::{CarriedSignal, Reason, RunKind};
use crate::Ending;

/// What the engine asks of its runner, as complete data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// Call the managed function. It first takes in every pending variable update. Ends in
    /// `RunEnded`.
    Run {
        /// What the run is for.
        kind: RunKind,
        /// The signal that the run carries.
        carries: CarriedSignal,
    },
    /// Write the context that the run left to disk. Ends in `Saved`.
    Save,
    /// Set the message of the failed run aside, where people see it. Has no outcome.
    SetAside {
        /// What its last run failed with.
        reason: Reason,
    },
    /// Call the cleanup function. Ends in `CleanupEnded`.
    Cleanup,
    /// Drop the operation's future and forget what it changed. Has no outcome.
    Abort {
        /// The operation to drop.
        op: OpId,
    },
    /// Write a line into the log. Has no outcome.
    Note(Note),
}

/// A change worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// The first run succeeded.
    Initialised,
    /// A run failed; another try follows.
    RunFailed {
        /// What went wrong.
        reason: Reason,
        /// Failed runs in a row.
        failures: u32,
        /// The time until the next try, milliseconds.
        retry_after_ms: u64,
        /// Whether the watcher is in `WaitRecover` until then.
        heavy: bool,
    },
    /// The message of a failed run was set aside; the watcher goes on.
    MessageSetAside {
        /// What went wrong.
        reason: Reason,
        /// How many times its run failed.
        failures: u32,
    },
    /// A run succeeded after failures.
    Recovered {
        /// How many failures in a row there had been.
        failures: u32,
    },
    /// The cleanup function failed.
    CleanupFailed {
        /// What went wrong.
        reason: Reason,
    },
    /// The watcher is over.
    Ended {
        /// How the watcher ended.
        ending: Ending,
    },
}
