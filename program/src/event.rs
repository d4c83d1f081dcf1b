//! What can happen to a program.

use alloc::string::String;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{Cause, ContainerId, Exit, ImageId, InstanceNumber, Observed, Source, Started};

/// What can happen to a program. Events are facts: they are journalled before anything is done
/// about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked to start it.
    UserStartRequested,
    /// Somebody asked to stop it.
    UserStopRequested,
    /// Somebody asked to stop it and start it again.
    UserRestartRequested,
    /// Somebody asked to remove it with all it stored.
    UserDeleteRequested,
    /// New source or a new manifest is stored; it counts from the next start.
    SourceReplaced {
        /// What will run from then on.
        source: Source,
    },
    /// The host began to serve this program, after a restart of the host or of its journal.
    /// Deadlines count anew from here, and a Ready program is looked up in the runtime.
    HostStarted {
        /// Whether that host numbers instances, as every host does that writes this event today. Hosts
        /// before it wrote the event without this field; folding what they wrote must give what they
        /// had, so numbers are given from the first host on that says so.
        #[serde(default)]
        numbers_instances: bool,
        /// Why an instance that the program does not account for could not be removed before. It may
        /// write to the program's state, so everything is stopped before anything is started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_behind: Option<Cause>,
    },
    /// Outcome of `EnsureProgramFolders`.
    FoldersEnsured {
        /// The operation that ended.
        op: OpId,
        /// Whether the folders are there.
        result: Result<(), Cause>,
    },
    /// Outcome of `BuildRuntime`.
    BuildFinished {
        /// The operation that ended.
        op: OpId,
        /// The image, by content.
        result: Result<ImageId, Cause>,
    },
    /// `StartRuntime` brought it up.
    RuntimeStarted {
        /// The operation that ended.
        op: OpId,
        /// What came up.
        started: Started,
    },
    /// `StartRuntime` did not bring it up.
    StartFailed {
        /// The operation that ended.
        op: OpId,
        /// Why.
        cause: Cause,
    },
    /// An instance of this program ended by itself.
    RuntimeExited {
        /// Which one. An exit of any other than the current one is stale.
        #[serde(default)]
        instance: InstanceNumber,
        /// What the runtime calls it, which also tells unnumbered instances apart.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// Outcome of `StopRuntime`.
    StopFinished {
        /// The operation that ended.
        op: OpId,
        /// Whether nothing of the program runs any more.
        result: Result<(), Cause>,
    },
    /// Outcome of `FetchRuntimeStatus`.
    StatusFetched {
        /// The operation that ended.
        op: OpId,
        /// What the runtime saw.
        result: Result<Observed, Cause>,
    },
    /// The operation did not end in time.
    DeadlinePassed {
        /// The late operation.
        op: OpId,
    },
    /// A retry is due.
    RetryDue {
        /// The `ScheduleRetry` that ended.
        op: OpId,
    },
    /// Outcome of `RemoveProgram`.
    Removed {
        /// The operation that ended.
        op: OpId,
        /// Whether nothing is left of it.
        result: Result<(), Cause>,
    },
    /// The handler of an effect panicked: a defect in Hersh, treated as a failure of that effect.
    HandlerPanicked {
        /// The operation that ended.
        op: OpId,
        /// The panic's message.
        message: String,
    },
}
