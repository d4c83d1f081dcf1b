//! The details of a program on its way up: its build, and the start of its instance.

use alloc::{sync::Arc, vec::Vec};

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, Exit, ImageId, InstanceNumber, Rest, RevisionNumber, Source};

/// A program whose folders and image are being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Building {
    /// The operation that the program waits for.
    pub op: OpId,
    /// The deadline of that operation.
    pub deadline_ms: u64,
    /// The current step: folders or image.
    pub step: BuildStep,
    /// The source that this start builds. A source that replaces it meanwhile takes effect from the next
    /// start on.
    pub source: Source,
    /// What follows the build.
    #[serde(default, skip_serializing_if = "AfterBuild::is_start")]
    pub then: AfterBuild,
}

/// What follows a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum AfterBuild {
    /// The start of an instance.
    #[default]
    Start,
    /// Nothing: the build alone was asked for.
    Nothing {
        /// The revision that is built.
        revision: RevisionNumber,
        /// What the program was before, and is again after; `None` for one that is up meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<Rest>,
    },
}

impl AfterBuild {
    /// Returns whether an instance is started after the build.
    #[must_use]
    pub fn is_start(&self) -> bool {
        match self {
            Self::Start => true,
            Self::Nothing { .. } => false,
        }
    }
}

/// A program whose newest instance is being brought up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// The operation that the program waits for.
    pub op: OpId,
    /// The deadline of that operation.
    pub deadline_ms: u64,
    /// The instance that is being brought up.
    #[serde(default)]
    pub instance: InstanceNumber,
    /// The image that the instance runs.
    pub image: ImageId,
    /// Exits seen since the start began, newest last, at most [`Starting::MAX_EXITS`]. Some may be of earlier
    /// containers. When a container comes up, its exit is looked for here.
    pub exits: Vec<(ContainerId, Arc<Exit>)>,
}

impl Starting {
    /// The largest number of exits that the state remembers.
    pub const MAX_EXITS: usize = 8;
}

/// The step of a program in `Building`, by the effect that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildStep {
    /// `EnsureProgramFolders`.
    Folders,
    /// `BuildImage`.
    Image,
}
