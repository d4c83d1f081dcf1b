//! Events: the facts and commands that a program takes in.

use alloc::string::String;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{
    Cause, ContainerId, Exit, ImageId, InstanceNumber, InstanceStatus, Logs, RevisionNote,
    RevisionNumber, Rules, Source, StartResult,
};

/// An event of a program. Events are facts: the journal stores an event before anything is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked to start the program.
    UserStartRequested,
    /// Somebody asked to stop the program.
    UserStopRequested,
    /// Somebody asked to stop the program and start it again.
    UserRestartRequested,
    /// Somebody asked to remove the program and everything that it stored.
    UserDeleteRequested,
    /// A new revision is stored. The next start that somebody asks for runs it.
    SourceReplaced {
        /// The source and manifest of the next starts.
        source: Source,
        /// Who deployed it, and why.
        #[serde(default)]
        note: RevisionNote,
    },
    /// Somebody asked to start an older revision in place of the one that runs or is wanted.
    UserRollBackRequested {
        /// The revision.
        revision: RevisionNumber,
    },
    /// Somebody asked to build the newest revision and not to start it.
    UserBuildRequested,
    /// The host began to serve this program, after a restart of the host or of its journal.
    /// Deadlines count anew from here, and a Ready program is looked up in the runtime.
    HostStarted {
        /// Whether the host numbers instances. Every host that writes this event today does. Older hosts
        /// wrote the event without this field, and folding their records must give the state that they had.
        /// So instances get numbers only from the first event on in which this field is true.
        #[serde(default)]
        numbers_instances: bool,
        /// The rules that the program follows from this event on, if they are newer than its own. Hosts of
        /// the first rules wrote the event without this field.
        #[serde(default)]
        rules: Rules,
        /// The reason why an instance that the program does not account for could not be removed before. That
        /// instance may still write to the program's state, so everything is stopped before anything is
        /// started.
        #[serde(
            rename = "left_behind",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        orphan: Option<Cause>,
    },
    /// Outcome of `EnsureProgramFolders`.
    FoldersEnsured {
        /// The operation that ended.
        op: OpId,
        /// Success when the folders exist.
        result: Result<(), Cause>,
    },
    /// Outcome of `BuildImage`.
    BuildFinished {
        /// The operation that ended.
        op: OpId,
        /// The id of the image, by content.
        result: Result<ImageId, Cause>,
    },
    /// `StartInstance` succeeded: the instance is ready.
    #[serde(rename = "runtime_started")]
    InstanceStarted {
        /// The operation that ended.
        op: OpId,
        /// The container of the instance.
        started: StartResult,
    },
    /// `StartInstance` failed.
    StartFailed {
        /// The operation that ended.
        op: OpId,
        /// The reason for the failure.
        cause: Cause,
    },
    /// An instance of this program ended by itself.
    #[serde(rename = "runtime_exited")]
    InstanceEnded {
        /// The instance that ended. The event is stale for every instance but the current one.
        #[serde(default)]
        instance: InstanceNumber,
        /// The runtime's id for the instance. It also tells unnumbered instances apart.
        container: ContainerId,
        /// The reason for the end, and the last lines.
        exit: Exit,
    },
    /// The liveness probe of an instance that is up failed several times in a row.
    InstanceNotAlive {
        /// The instance. The event is stale for every instance but the current one.
        instance: InstanceNumber,
        /// The runtime's id for the instance.
        container: ContainerId,
        /// The number of probes that failed.
        failures: u32,
        /// The result of the last probe.
        last_probe: String,
        /// The last lines that the program printed.
        logs: Logs,
    },
    /// An instance that was not alive answers its liveness probe again.
    InstanceAlive {
        /// The instance. The event is stale for every instance but the current one.
        instance: InstanceNumber,
        /// The runtime's id for the instance.
        container: ContainerId,
    },
    /// An instance of a revision that had not settled has been up for
    /// [`SETTLED_RUN_MS`](crate::recovery::SETTLED_RUN_MS).
    InstanceSettled {
        /// The instance. The event is stale for every instance but the current one.
        instance: InstanceNumber,
    },
    /// Outcome of `StopInstances`.
    StopFinished {
        /// The operation that ended.
        op: OpId,
        /// Success when no instance of the program runs any more.
        result: Result<(), Cause>,
    },
    /// Outcome of `ObserveInstance`.
    #[serde(rename = "status_fetched")]
    InstanceObserved {
        /// The operation that ended.
        op: OpId,
        /// The answer of the runtime.
        result: Result<InstanceStatus, Cause>,
    },
    /// The deadline of an operation has passed before its outcome came.
    DeadlinePassed {
        /// The late operation.
        op: OpId,
    },
    /// The wait for a retry is over.
    RetryDue {
        /// The `ScheduleRetry` that ended.
        op: OpId,
    },
    /// Outcome of `RemoveProgram`.
    Removed {
        /// The operation that ended.
        op: OpId,
        /// Success when nothing of the program is left.
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
