//! Sources, results and causes.

use alloc::{string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    BuildId, ContainerId, ImageId, Manifest, Readiness,
    words::{ExitCode, Lasting, Size},
};

/// What is to be built and how it is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The stored source tree.
    pub build: BuildId,
    /// How it is to be run.
    pub manifest: Arc<Manifest>,
}

/// The last lines that a build or a program printed, oldest first. Bounded by whoever makes it
/// (at most 50 lines of 500 characters).
pub type Logs = Vec<String>;

/// A program that came up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The container that runs it.
    pub container: ContainerId,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// The last lines it printed.
    pub logs: Logs,
}

/// Why a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// Its process returned `code`; codes above 128 usually mean signal `code - 128`. A code that a
    /// stop by the engine gives too (0, 137, 143) is told like this only when the end is known to be
    /// the program's own.
    Code(i32),
    /// It ended with such a code because the engine stopped it, as one that goes down does with all
    /// that runs, or may have.
    EngineStopped {
        /// The exit code.
        code: i32,
    },
    /// It used more memory than its limit.
    OutOfMemory,
    /// It ended with `code` after it was refused one more process or thread.
    OutOfProcesses {
        /// The exit code.
        code: i32,
    },
    /// Its first process could not be run at all, and can't be until something else is deployed.
    NotRunnable {
        /// What can't be run, why, and what to do.
        message: String,
    },
    /// `/state` grew past its limit and the host ended it.
    StateQuota,
    /// It was filling the disk and the host ended it.
    DiskFull,
    /// The container is not there any more and nobody saw it end.
    Vanished,
}

/// What the runtime knows of a program's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// No container carries the program's label.
    Absent,
    /// It runs.
    Running(ContainerId),
    /// It ended and was not removed.
    Exited(ContainerId, Exit),
}

/// Why a program is in `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// The program's folders could not be made.
    #[error("folders could not be prepared: {message}")]
    FoldersFailed {
        /// What the file system said.
        message: String,
    },
    /// The image did not build.
    #[error("build failed: {message}")]
    BuildFailed {
        /// What the builder said.
        message: String,
        /// The end of the build log.
        logs: Logs,
    },
    /// The image did not build in time.
    #[error("build did not finish within {}", Lasting(*.after_ms))]
    BuildTimedOut {
        /// The time it had, milliseconds.
        after_ms: u64,
    },
    /// The container could not be made or started.
    #[error("start failed: {message}")]
    StartFailed {
        /// What the runtime said.
        message: String,
        /// The end of the program's log.
        logs: Logs,
    },
    /// What the image names as its program can't be run, however often it is tried.
    #[error("it can't be run: {message}")]
    NotRunnable {
        /// What can't be run, why, and what to do.
        message: String,
    },
    /// Its first process ended well before its readiness probe was answered, as one does that goes
    /// on in the background.
    #[error(
        "its first process ended with code 0 before it was ready: it has to stay in the foreground; one that is done when it ends says [readiness] kind = \"none\" in hersh.toml"
    )]
    EndedBeforeReady {
        /// The end of the program's log.
        logs: Logs,
    },
    /// It has no readiness probe and was done, with code 0, before its start was: the end of a job.
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
    /// What would run, or what was made, is not what the contracts ask.
    #[error("contract {contract} violated: {message}")]
    ContractViolated {
        /// The contract's name.
        contract: String,
        /// What was found and what was asked.
        message: String,
    },
    /// It runs but did not answer its readiness probe in time.
    #[error("not ready within {}: {last_probe}; port and [readiness] in hersh.toml say where it answers", Lasting(*.after_ms))]
    NotReadyInTime {
        /// The time it had, milliseconds.
        after_ms: u64,
        /// What the last probe saw.
        last_probe: String,
        /// The end of the program's log.
        logs: Logs,
    },
    /// Its process ended.
    #[error("exited with code {}", ExitCode(*.code))]
    Exited {
        /// The exit code.
        code: i32,
        /// The signal that ended it, if the code says one.
        signal: Option<i32>,
        /// The end of the program's log.
        logs: Logs,
    },
    /// It ended with code 0, 137 or 143, and the engine stopped it or may have.
    #[error("stopped by the container engine, or while nobody watched, with code {}", ExitCode(*.code))]
    EngineStopped {
        /// The exit code.
        code: i32,
        /// The end of the program's log.
        logs: Logs,
    },
    /// It used more memory than its limit.
    #[error("ran out of memory")]
    OutOfMemory {
        /// The end of the program's log.
        logs: Logs,
    },
    /// It wanted more processes or threads than it may have.
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
    /// `/state` held more than its limit when it was to be started.
    #[error("its /state holds {}, more than the {} that it may: raise state under [resources] in hersh.toml and deploy it again; or save what it keeps by 'hersh state copy', remove it by 'hersh rm', and deploy it anew", Size(*.used_bytes), Size(*.limit_bytes))]
    StateTooLarge {
        /// What it holds, as far as that was counted.
        used_bytes: u64,
        /// What it may.
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
        /// What the runtime said.
        message: String,
    },
    /// Folders could not be removed.
    #[error("removal failed: {message}")]
    RemoveFailed {
        /// What the file system said.
        message: String,
    },
    /// The container engine does not answer.
    #[error("container engine unavailable: {message}")]
    RuntimeUnavailable {
        /// What was tried and what came back.
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
    /// What the end of a container means for its program.
    fn from(exit: &Exit) -> Self {
        match &exit.reason {
            &ExitReason::Code(code) => Self::Exited {
                code,
                // Shells and engines report death by signal n as 128 + n; there are 64 signals.
                signal: (129..=192).contains(&code).then(|| code - 128),
                logs: exit.logs.clone(),
            },
            &ExitReason::EngineStopped { code } => Self::EngineStopped {
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
    /// What the end of a container means for its program before that was seen to be ready.
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
                | ExitReason::EngineStopped { .. }
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

/// Why a command was not carried out. Data for the one who asked; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The wish is fulfilled already.
    #[error("already {state}")]
    Already {
        /// The state it is in.
        state: String,
    },
    /// The program is being removed.
    #[error("the program is being removed")]
    BeingRemoved,
}
