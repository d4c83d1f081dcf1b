//! The state of a program at one moment.
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
//!
//! A program that is up stays in Ready while its next revision is built; then it goes to Stopping to start that
//! one. With overlap it stays in Ready while that one starts too, and then lets go of the instance before.

use alloc::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{
    BuildId, Building, Cause, Exit, Failed, ImageId, InstanceNumber, Manifest, ProgramId, Ready,
    Rest, Restarts, RevisionNote, Revisions, Rules, Source, Starting, Stopped,
};

/// The whole state of one program: the state of the state machine [`Lifecycle`](crate::Lifecycle).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program's name.
    pub id: ProgramId,
    /// The source and manifest of the next start that somebody asks for.
    pub source: Source,
    /// The image of `source`, once it was built. A new source tree forgets the image.
    pub image: Option<ImageId>,
    /// The manifest that the last start was begun with, until nothing of that start can run any more. It may
    /// be older than the manifest of `source`, which takes effect from the next start on.
    #[serde(rename = "running", default)]
    pub instance_manifest: Option<Arc<Manifest>>,
    /// The source tree that the last start was begun with, for as long as `instance_manifest` is set. Programs
    /// of older journals have none.
    #[serde(
        rename = "running_build",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub instance_build: Option<BuildId>,
    /// The number of instances that the program has had, which is the number of the newest. `None` for
    /// programs of older journals, whose instances have no numbers, until a host that numbers them starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// The rules by which events change this program.
    #[serde(default)]
    pub rules: Rules,
    /// The number of retries since the last command or the last long execution. Under [`Rules::Second`], only
    /// retries for which the program itself gave the cause.
    pub attempts: u32,
    /// The number of retries for causes outside of the program since it was up last.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waits: u32,
    /// What was deployed. `source` and `image` are those of the wanted revision. `None` under
    /// [`Rules::First`], whose programs have only their newest source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
    /// The automatic starts of the last hour. Not counted under [`Rules::First`].
    #[serde(default, skip_serializing_if = "Restarts::is_empty")]
    pub restarts: Restarts,
    /// The seed for the jitter of the program's retries.
    pub seed: u64,
    /// The program's state in its lifecycle.
    pub state: State,
}

impl Program {
    /// Returns a program that was never started. `seed` should differ between programs: with equal seeds
    /// their retries would come at the same times.
    #[must_use]
    pub fn new(id: ProgramId, source: Source, seed: u64) -> Self {
        Self::deployed(id, source, RevisionNote::default(), 0, seed)
    }

    /// Works like [`Program::new`], for a first revision that was deployed at `now_ms`, by whom and why `note`
    /// says.
    #[must_use]
    pub fn deployed(
        id: ProgramId,
        source: Source,
        note: RevisionNote,
        now_ms: u64,
        seed: u64,
    ) -> Self {
        let revisions = Some(Revisions::new(source.clone(), note, now_ms));
        Self {
            id,
            revisions,
            source,
            image: None,
            instance_manifest: None,
            instance_build: None,
            instances: Some(0),
            rules: Rules::CURRENT,
            attempts: 0,
            waits: 0,
            restarts: Restarts::default(),
            seed,
            state: State::Created,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The state of a program in its lifecycle. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The program was never started.
    Created,
    /// Folders and image are being made.
    Building(Building),
    /// An instance is being made, verified and brought up.
    Starting(Starting),
    /// The program is up.
    Ready(Ready),
    /// The program's instances are being stopped, or its files removed.
    Stopping(Stopping),
    /// Nothing of the program runs, as asked or after a clean exit.
    Stopped(Stopped),
    /// The program failed. Nothing of it runs, unless it could not be stopped.
    Error(Failed),
    /// The program is removed with everything that it stored. Nothing happens any more.
    Removed,
}

/// A program that is being stopped or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The operation that the program waits for.
    pub op: OpId,
    /// The deadline of that operation.
    pub deadline_ms: u64,
    /// The current step: containers or files.
    pub step: StopStep,
    /// The instance that was up or on its way up, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceNumber>,
    /// The manifest of a second instance, which was brought up or stopped beside that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Arc<Manifest>>,
    /// The state that follows.
    pub then: AfterStop,
}

/// The step of a program in `Stopping`, by the effect that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopStep {
    /// `StopInstances`.
    #[serde(rename = "containers")]
    Instances,
    /// `RemoveProgram`; only on the way to `Removed`.
    Files,
}

/// The state that follows `Stopping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum AfterStop {
    /// `Stopped`.
    Stop {
        /// The end of the program's container, when it ended by itself.
        last_exit: Option<Arc<Exit>>,
    },
    /// `Starting` when the planned revision has an image, otherwise `Building`.
    Start,
    /// `Error`, with a retry if the policy says so.
    Fail {
        /// The cause of the failure.
        cause: Arc<Cause>,
    },
    /// `Removed`.
    Remove,
}

impl State {
    /// Returns the state's name, as the API shows it.
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

    /// Returns whether only a command, a new fact or a retry changes the state: no operation is under way
    /// that leads to another state.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Building(_) | Self::Starting(_) | Self::Stopping(_) => false,
            // An instance that leaves changes nothing any more.
            Self::Ready(ready) => ready.rollout.is_none(),
            Self::Created | Self::Stopped(_) | Self::Error(_) | Self::Removed => true,
        }
    }
}

impl From<Rest> for State {
    fn from(rest: Rest) -> Self {
        match rest {
            Rest::Created => Self::Created,
            Rest::Stopped(stopped) => Self::Stopped(stopped),
            Rest::Failed(failed) => Self::Error(failed),
        }
    }
}
