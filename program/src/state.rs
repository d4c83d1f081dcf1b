//! What a program is at one moment.
//!
//! ```text
//!              start                                   ready
//!  Created ───────────► Building ──image──► Starting ─────────► Ready
//!     ▲ (new)              │  stop, failure    │ stop, failure    │ stop, exit
//!     │                    └─────────────┬─────┴──────────────────┘
//!     │                                  ▼
//!  Stopped ◄─────── wish: stop ────── Stopping ── wish: start again ──► Starting or Building
//!                                        │  ▲
//!  Removed ◄─────── wish: remove ────────┤  │ stop, delete
//!                                        ▼  │
//!                   wish: fail ───────► Error ── retry due ──► Starting or Building
//! ```

use alloc::{sync::Arc, vec::Vec};

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{
    BuildId, Cause, ContainerId, Exit, ImageId, InstanceNumber, Manifest, ProgramId, Source,
};

/// The whole state of one program: the state of the [`Lifecycle`](crate::Lifecycle) machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub id: ProgramId,
    /// What the next start builds and runs.
    pub source: Source,
    /// The image of `source`, once it was built. A new source tree forgets it.
    pub image: Option<ImageId>,
    /// The manifest that the last start was begun with, until nothing of it can run any more. It may
    /// be older than that of `source`, which counts from the next start on.
    #[serde(default)]
    pub running: Option<Arc<Manifest>>,
    /// The source tree that the last start was begun with, as long as `running` is there. Programs
    /// of older journals have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_build: Option<BuildId>,
    /// How many instances it has had, which is the number of the newest; `None` for programs of older
    /// journals, whose instances have no numbers, until a host that numbers them starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Retries since the last command or the last long run.
    pub attempts: u32,
    /// Where the jitter of its retries comes from.
    pub seed: u64,
    /// Where it is in its life.
    pub state: State,
}

impl Program {
    /// A program that was never started. `seed` should differ between programs, so that their
    /// retries do not fall together.
    #[must_use]
    pub fn new(id: ProgramId, source: Source, seed: u64) -> Self {
        Self {
            id,
            source,
            image: None,
            running: None,
            running_build: None,
            instances: Some(0),
            attempts: 0,
            seed,
            state: State::Created,
        }
    }
}

/// Where a program is in its life. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Never started.
    Created,
    /// Folders and image are being made.
    Building(Building),
    /// An instance is being made, verified and brought up.
    Starting(Starting),
    /// Up.
    Ready(Ready),
    /// On the way out of whatever it was.
    Stopping(Stopping),
    /// Nothing runs, as asked or after a clean exit.
    Stopped(Stopped),
    /// Nothing runs, because something failed.
    Error(Failed),
    /// Gone with all it stored. Nothing happens any more.
    Removed,
}

/// A program whose folders and image are being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Building {
    /// The operation it waits for.
    pub op: OpId,
    /// When it gives up.
    pub deadline_ms: u64,
    /// Which of the two.
    pub step: BuildStep,
    /// What this start builds; a source replaced meanwhile counts from the next start.
    pub source: Source,
}

/// A program whose newest instance is being brought up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// The operation it waits for.
    pub op: OpId,
    /// When it gives up.
    pub deadline_ms: u64,
    /// The instance that is being brought up.
    #[serde(default)]
    pub instance: InstanceNumber,
    /// What it runs.
    pub image: ImageId,
    /// Exits seen since the start began, newest last, at most [`Starting::MAX_EXITS`]. They may
    /// be of containers from before; the one that comes up is held against them.
    pub exits: Vec<(ContainerId, Arc<Exit>)>,
}

impl Starting {
    /// How many exits it remembers.
    pub const MAX_EXITS: usize = 8;
}

/// A program that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The instance that is up.
    #[serde(default)]
    pub instance: InstanceNumber,
    /// What it runs.
    pub image: ImageId,
    /// What the runtime calls the instance.
    pub container: ContainerId,
    /// Since when.
    pub since_ms: u64,
    /// A question to the runtime whether the container still runs, until it is answered.
    pub check: Option<Check>,
}

/// A program on the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The operation it waits for.
    pub op: OpId,
    /// When it gives up.
    pub deadline_ms: u64,
    /// Which operation.
    pub step: StopStep,
    /// The instance that was on its way up or up, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceNumber>,
    /// What comes after.
    pub then: Then,
}

/// A program at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// How its container ended, when it ended by itself.
    pub last_exit: Option<Arc<Exit>>,
}

/// A program that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What failed.
    pub cause: Arc<Cause>,
    /// When it is tried again, if it is.
    pub retry: Option<Retry>,
    /// Why what failed could not be stopped either: something of it may still run.
    #[serde(default)]
    pub not_stopped: Option<Arc<Cause>>,
}

/// What a program in `Building` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildStep {
    /// `EnsureProgramFolders`.
    Folders,
    /// `BuildRuntime`.
    Image,
}

/// What a program in `Stopping` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopStep {
    /// `StopRuntime`.
    Containers,
    /// `RemoveProgram`; only on the way to `Removed`.
    Files,
}

/// What comes after `Stopping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum Then {
    /// `Stopped`.
    Stop {
        /// How its container ended, when it ended by itself.
        last_exit: Option<Arc<Exit>>,
    },
    /// `Starting` when the image of its source stands, else `Building`.
    Start,
    /// `Error`, with a retry if the policy says so.
    Fail {
        /// What failed.
        cause: Arc<Cause>,
    },
    /// `Removed`.
    Remove,
}

/// A question to the runtime about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The `FetchRuntimeStatus` that asks.
    pub op: OpId,
    /// When it is asked again.
    pub deadline_ms: u64,
}

/// A retry to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The `ScheduleRetry` that stands for it.
    pub op: OpId,
    /// When.
    pub due_ms: u64,
}

impl State {
    /// The state's name, as the API shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Building(_) => "building",
            Self::Starting(_) => "starting",
            Self::Ready(_) => "ready",
            Self::Stopping(_) => "stopping",
            Self::Stopped(_) => "stopped",
            Self::Error(_) => "error",
            Self::Removed => "removed",
        }
    }

    /// True when only a command, a new fact or a retry moves it: no operation is under way that
    /// leads to another state.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Building(_) | Self::Starting(_) | Self::Stopping(_) => false,
            Self::Created | Self::Ready(_) | Self::Stopped(_) | Self::Error(_) | Self::Removed => {
                true
            }
        }
    }
}
