//! Sources, results and causes.

use alloc::{string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    BuildId, ContainerId, ImageId, Manifest, Readiness, RevisionNumber,
    words::{ExitCode, RoundedSize, RoundedSpan},
};

/// The source tree and the manifest of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The stored source tree.
    pub build: BuildId,
    /// The manifest that the tree is built and run with.
    pub manifest: Arc<Manifest>,
}

/// The last lines that a build or a program printed, oldest first. The code that makes the list keeps it
/// within 50 lines of 500 characters.
pub type Logs = Vec<String>;

/// The result of a successful start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartResult {
    /// The container of the new instance.
    pub container: ContainerId,
}

/// The end of a container: its reason and last lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The reason for the end.
    pub reason: ExitReason,
    /// The last lines that the program printed.
    pub logs: Logs,
}

/// The reason why a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The program's process returned `code`; codes above 128 usually mean signal `code - 128`. The codes 0,
    /// 137 and 143 can also come from a stop by the engine. For them, this variant means that the end is
    /// known to be the program's own.
    Code(i32),
    /// The container ended with code 0, 137 or 143, and the engine stopped it or may have: an engine that
    /// goes down stops everything that runs.
    #[serde(rename = "engine_stopped")]
    StoppedFromOutside {
        /// The exit code.
        code: i32,
    },
    /// The container used more memory than its limit.
    OutOfMemory,
    /// The container ended with `code` after the program was refused one more process or thread.
    OutOfProcesses {
        /// The exit code.
        code: i32,
    },
    /// The container's first process could not be run at all, and can't be until something else is deployed.
    NotRunnable {
        /// A text that says what can't be run, why, and what to do about it.
        message: String,
    },
    /// `/state` grew past its limit, and the host ended the container.
    StateQuota,
    /// The program was filling the disk, and the host ended the container.
    DiskFull,
    /// The container is gone, and nobody saw it end.
    Vanished,
}

/// The status of a program's container, as the runtime reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// No container carries the program's label.
    Absent,
    /// The container runs.
    Running(ContainerId),
    /// The container ended and was not removed.
    Exited(ContainerId, Exit),
}

/// The reason why a program is in `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// The program's folders could not be made.
    #[error("folders could not be prepared: {message}")]
    FoldersFailed {
        /// The message of the file system.
        message: String,
    },
    /// The image did not build.
    #[error("build failed: {message}")]
    BuildFailed {
        /// The message of the builder.
        message: String,
        /// The end of the build log.
        logs: Logs,
    },
    /// The image did not build in time.
    #[error("build did not finish within {}", RoundedSpan(*.after_ms))]
    BuildTimedOut {
        /// The longest time that the build had, milliseconds.
        after_ms: u64,
    },
    /// The container could not be made or started.
    #[error("start failed: {message}")]
    StartFailed {
        /// The message of the runtime.
        message: String,
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program that the image names can't be run, however often it is tried.
    #[error("it can't be run: {message}")]
    NotRunnable {
        /// A text that says what can't be run, why, and what to do about it.
        message: String,
    },
    /// The program's first process ended well before its readiness probe was answered. A process that goes on
    /// in the background does so.
    #[error(
        "its first process ended with code 0 before it was ready: it has to stay in the foreground; one that is done when it ends says [readiness] kind = \"none\" in hersh.toml"
    )]
    EndedBeforeReady {
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program has no readiness probe and ended with code 0 before its start was over: the end of a job.
    #[error("finished with code 0")]
    Finished {
        /// The end of the program's log.
        logs: Logs,
    },
    /// The image that was to run is not in the engine any more. A retry builds it again.
    #[error("the image {image} is gone from the container engine")]
    ImageGone {
        /// The image.
        image: ImageId,
    },
    /// The input of a build or a start, or its result, does not meet the contracts.
    #[error("contract {contract} violated: {message}")]
    ContractViolated {
        /// The contract's name.
        contract: String,
        /// The value that was found and the value that the contract asks for.
        message: String,
    },
    /// The program runs but did not answer its readiness probe in time.
    #[error("not ready within {}: {last_probe}; port and [readiness] in hersh.toml say where it answers", RoundedSpan(*.after_ms))]
    NotReadyInTime {
        /// The longest time that the start had, milliseconds.
        after_ms: u64,
        /// The result of the last probe.
        last_probe: String,
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program's process ended.
    #[error("exited with code {}", ExitCode(*.code))]
    Exited {
        /// The exit code.
        code: i32,
        /// The signal that ended the process, if the code stands for one.
        signal: Option<i32>,
        /// The end of the program's log.
        logs: Logs,
    },
    /// The container ended with code 0, 137 or 143, and the engine stopped it or may have.
    #[error("stopped by the container engine, or while nobody watched, with code {}", ExitCode(*.code))]
    #[serde(rename = "engine_stopped")]
    StoppedFromOutside {
        /// The exit code.
        code: i32,
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program was up and did not answer its liveness probe any more.
    #[error("not alive: {failures} probes in a row failed, the last one with: {last_probe}")]
    NotAlive {
        /// The number of probes in a row that failed.
        failures: u32,
        /// The result of the last probe.
        last_probe: String,
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program used more memory than its limit.
    #[error("ran out of memory")]
    OutOfMemory {
        /// The end of the program's log.
        logs: Logs,
    },
    /// The program wanted more processes or threads than its limit.
    #[error(
        "ended with code {code} after it was refused one more process or thread: raise pids under [resources] in hersh.toml, or start fewer at once"
    )]
    OutOfProcesses {
        /// The exit code.
        code: i32,
        /// The end of the program's log.
        logs: Logs,
    },
    /// `/state` grew past its limit.
    #[error("state is larger than its limit")]
    StateQuotaExceeded,
    /// `/state` held more than its limit when the program was to be started.
    #[error("its /state holds {}, more than the {} that it may: raise state under [resources] in hersh.toml and deploy it again; or save what it keeps by 'hersh state copy', remove it by 'hersh rm', and deploy it anew", RoundedSize(*.used_bytes), RoundedSize(*.limit_bytes))]
    StateTooLarge {
        /// The size of `/state`, bytes; it may hold more, if counting stopped early.
        used_bytes: u64,
        /// The limit of `/state`, bytes.
        limit_bytes: u64,
    },
    /// `/state` grew within its limit until the disk was nearly full.
    #[error(
        "it was filling the disk, so the host ended it: keep less in /state, lower its limit, or make room on the disk"
    )]
    DiskFilled,
    /// Containers could not be removed.
    #[error("stop failed: {message}")]
    StopFailed {
        /// The message of the runtime.
        message: String,
    },
    /// Folders could not be removed.
    #[error("removal failed: {message}")]
    RemoveFailed {
        /// The message of the file system.
        message: String,
    },
    /// The container engine does not answer.
    #[error("container engine unavailable: {message}")]
    RuntimeUnavailable {
        /// The request that was tried, and the answer or error.
        message: String,
    },
    /// A build could not fetch an image, because the image's registry did not answer.
    #[error("the registry is unavailable: {message}")]
    RegistryUnavailable {
        /// The message of the builder.
        message: String,
        /// The end of the build log.
        logs: Logs,
    },
    /// A disk of the host was too full for a build or a start.
    #[error("the disk is full: {message}")]
    DiskFull {
        /// Which disk, and what to do about it.
        message: String,
    },
    /// The container is gone, or another stands in its place, and nobody saw it end.
    #[error("the container disappeared and nobody saw it end")]
    Vanished,
    /// The host ended in the middle of this step.
    #[error("the host was restarted in the middle of this step")]
    HostRestarted,
    /// The handler of an effect panicked: a defect in Hersh.
    #[error("internal error: {message}")]
    Internal {
        /// The panic's message.
        message: String,
    },
}

impl From<&Exit> for Cause {
    /// Returns the cause that the end of a container has for its program.
    fn from(exit: &Exit) -> Self {
        match &exit.reason {
            &ExitReason::Code(code) => Self::Exited {
                code,
                // Shells and engines report death by signal n as 128 + n; there are 64 signals.
                signal: (129..=192).contains(&code).then(|| code - 128),
                logs: exit.logs.clone(),
            },
            &ExitReason::StoppedFromOutside { code } => Self::StoppedFromOutside {
                code,
                logs: exit.logs.clone(),
            },
            ExitReason::OutOfMemory => Self::OutOfMemory {
                logs: exit.logs.clone(),
            },
            &ExitReason::OutOfProcesses { code } => Self::OutOfProcesses {
                code,
                logs: exit.logs.clone(),
            },
            ExitReason::NotRunnable { message } => Self::NotRunnable {
                message: message.clone(),
            },
            ExitReason::StateQuota => Self::StateQuotaExceeded,
            ExitReason::DiskFull => Self::DiskFilled,
            ExitReason::Vanished => Self::Vanished,
        }
    }
}

impl Cause {
    /// Returns the cause for a container that ended before the program was seen to be ready.
    #[must_use]
    pub fn before_ready(exit: &Exit, readiness: &Readiness) -> Self {
        let logs = || exit.logs.clone();
        match (&exit.reason, readiness) {
            (ExitReason::Code(0), Readiness::None { .. }) => Self::Finished { logs: logs() },
            (ExitReason::Code(0), Readiness::Http { .. } | Readiness::Tcp { .. }) => {
                Self::EndedBeforeReady { logs: logs() }
            }
            (
                ExitReason::Code(_)
                | ExitReason::StoppedFromOutside { .. }
                | ExitReason::OutOfMemory
                | ExitReason::OutOfProcesses { .. }
                | ExitReason::NotRunnable { .. }
                | ExitReason::StateQuota
                | ExitReason::DiskFull
                | ExitReason::Vanished,
                _any,
            ) => Self::from(exit),
        }
    }
}

/// The reason why a command was not carried out, for its sender. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// Something else has to end first.
    #[error("the program is {with}; wait until that has ended, or stop it")]
    Busy {
        /// What it is doing: `starting`.
        with: String,
    },
    /// The program is already in the state that the command asks for.
    #[error("already {state}")]
    Already {
        /// The state that the program is in.
        state: String,
    },
    /// The program is being removed.
    #[error("the program is being removed")]
    BeingRemoved,
    /// The revision is not kept, or never was.
    #[error("there is no revision {revision}; 'hersh revisions' lists those that are kept")]
    NoSuchRevision {
        /// The number that was asked for.
        revision: RevisionNumber,
    },
}
