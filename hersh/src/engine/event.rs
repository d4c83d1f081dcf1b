//! What can happen to a watcher.

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use super::state::Reason;
use crate::Ending;

/// What can happen to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The watcher's thread is up.
    Started,
    /// Somebody asked the watcher to end. The event takes the control lane.
    EndAsked {
        /// The end that was asked for.
        ending: Ending,
    },
    /// The managed function returned, failed or panicked.
    RunEnded {
        /// The run.
        op: OpId,
        /// How the run ended.
        outcome: Outcome,
    },
    /// The context is durable, or could not be made so.
    Saved {
        /// The save.
        op: OpId,
        /// What went wrong with the save, if anything.
        result: Result<(), Reason>,
    },
    /// The cleanup function returned, failed or panicked.
    CleanupEnded {
        /// The cleanup.
        op: OpId,
        /// Whether the cleanup changed the context, or what went wrong.
        result: Result<bool, Reason>,
    },
    /// An operation did not end in time.
    DeadlinePassed {
        /// The operation that did not end in time.
        op: OpId,
    },
    /// The delay before the next try is over.
    RetryDue,
    /// Messages came in. Their contents wait in the inbox.
    MessagesArrived {
        /// The number of messages, at least 1.
        count: u64,
    },
    /// Effects were settled. What came of them waits in the ledger.
    EffectsSettled {
        /// The number of effects, at least 1.
        count: u64,
    },
    /// Watched variables changed. Their values wait in their slots.
    VariablesChanged,
}

/// How a run ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The run returned `Ok`.
    Succeeded {
        /// Whether the run changed anything that is kept.
        changed: bool,
        /// Whether the run asked for another run.
        again: bool,
    },
    /// The run asked for an end by a control value.
    Steered {
        /// The end that the run asked for.
        ending: Ending,
        /// Whether the run changed the durable context (always false for a crash, which discards
        /// changes).
        changed: bool,
    },
    /// The run returned an error or panicked; its changes are discarded.
    Failed {
        /// What went wrong.
        reason: Reason,
        /// What is to blame.
        blame: Blame,
    },
}

/// What a failed run is to blame on, which says whether another try could mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Blame {
    /// The run: another try may succeed.
    Run,
    /// A hook that could not be set up: a programming error that no retry mends.
    SetUp,
    /// Its message, which cannot be read: no retry mends it.
    Message,
}
