//! What can happen to a watcher.

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use super::state::Reason;
use crate::Ending;

/// What can happen to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Its thread is up.
    Started,
    /// Somebody asked it to end. Lane of the lifecycle.
    EndAsked {
        /// How.
        ending: Ending,
    },
    /// The managed function returned, failed or panicked.
    RunEnded {
        /// The run.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// The context is durable, or could not be made so.
    Saved {
        /// The save.
        op: OpId,
        /// What went wrong, if anything.
        result: Result<(), Reason>,
    },
    /// The cleanup function returned, failed or panicked.
    CleanupEnded {
        /// The cleanup.
        op: OpId,
        /// Whether it changed the context, or what went wrong.
        result: Result<bool, Reason>,
    },
    /// An operation did not end in time.
    DeadlinePassed {
        /// Which one.
        op: OpId,
    },
    /// The delay before the next try is over.
    RetryDue,
    /// Messages came in. Their contents wait in the inbox.
    MessagesArrived {
        /// How many, at least 1.
        count: u64,
    },
    /// Watched variables changed. Their values wait in their slots.
    VariablesChanged,
}

/// How a run ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It returned `Ok`.
    Succeeded {
        /// Whether it changed the durable context.
        changed: bool,
    },
    /// It asked for an end by a control value.
    Steered {
        /// Which end.
        ending: Ending,
        /// Whether it changed the durable context (always false for a crash, which discards).
        changed: bool,
    },
    /// It returned an error or panicked; what it changed is discarded.
    Failed {
        /// What went wrong.
        reason: Reason,
        /// True when a hook could not be set up: a programming error that no retry mends.
        set_up: bool,
    },
}
