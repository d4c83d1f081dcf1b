//! The details of a program that is up: its instance, and what goes on beside it.

use alloc::{boxed::Box, string::String, sync::Arc};

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{
    Building, ContainerId, ImageId, InstanceNumber, Manifest, RevisionNumber, Source, Starting,
};

/// A program that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The instance that is up.
    #[serde(default)]
    pub instance: InstanceNumber,
    /// The image that the instance runs.
    pub image: ImageId,
    /// The runtime's id for the instance.
    pub container: ContainerId,
    /// The time at which the program became Ready.
    pub since_ms: u64,
    /// The open question to the runtime whether the container still runs.
    pub check: Option<Check>,
    /// Set while the instance does not answer its liveness probe and is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_alive: Option<Box<NotAlive>>,
    /// The next revision, while it is built or started beside the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
    /// The instance that is stopped beside the one that is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Box<LeavingInstance>>,
}

impl Ready {
    /// Returns the instances that may run: the one that is up, and with it at most one that is brought up or
    /// stopped.
    pub fn instances(&self) -> impl Iterator<Item = InstanceNumber> {
        let starting = self
            .rollout
            .as_ref()
            .and_then(|rollout| match &rollout.step {
                RolloutStep::Building(_) => None,
                RolloutStep::Starting { starting, .. } => Some(starting.instance),
            });
        let leaving = self.leaving.as_ref().map(|leaving| leaving.instance);
        [Some(self.instance), starting, leaving]
            .into_iter()
            .flatten()
    }

    /// Returns whether requests may go on with a container: it is up, or leaves and its requests may end.
    #[must_use]
    pub fn answers_from(&self, container: &ContainerId) -> bool {
        let leaving = self.leaving.as_ref().and_then(|it| it.container.as_ref());
        self.container == *container || leaving == Some(container)
    }
}

/// An instance that is up and does not answer its liveness probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAlive {
    /// The time at which that was noticed.
    pub since_ms: u64,
    /// The result of the last probe.
    pub last_probe: String,
}

/// The next revision of a program that is up, on its way to take the place of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The revision that is on its way.
    pub revision: RevisionNumber,
    /// How far it is.
    #[serde(flatten)]
    pub step: RolloutStep,
}

/// How far the next revision of a program that is up has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutStep {
    /// It is being built.
    Building(Building),
    /// An instance of it is being brought up beside the one that is up. Only with
    /// [`DeployStrategy::Overlap`](crate::DeployStrategy::Overlap).
    Starting {
        /// The source that the instance runs.
        source: Source,
        /// The start.
        starting: Starting,
    },
}

impl RolloutStep {
    /// Returns the operation that the rollout waits for.
    #[must_use]
    pub fn op(&self) -> OpId {
        match self {
            Self::Building(building) => building.op,
            Self::Starting { starting, .. } => starting.op,
        }
    }

    /// Returns the deadline of that operation.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        match self {
            Self::Building(building) => building.deadline_ms,
            Self::Starting { starting, .. } => starting.deadline_ms,
        }
    }

    /// Returns whether the revision is to take the place of the one that runs.
    #[must_use]
    pub fn is_started(&self) -> bool {
        match self {
            Self::Building(building) => building.then.is_start(),
            Self::Starting { .. } => true,
        }
    }

    /// Returns the source that is built or started.
    #[must_use]
    pub fn source(&self) -> &Source {
        match self {
            Self::Building(building) => &building.source,
            Self::Starting { source, .. } => source,
        }
    }
}

/// An instance that is stopped while another one is up: the one before, whose requests may end first, or one
/// that did not come up in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingInstance {
    /// The instance.
    pub instance: InstanceNumber,
    /// The runtime's id for the instance, if it was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// The stop that is under way.
    pub op: OpId,
    /// The time at which the stop is asked for again, if it has not succeeded by then.
    pub deadline_ms: u64,
    /// The manifest that the instance was started with.
    pub manifest: Arc<Manifest>,
}

/// An open question to the runtime about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The `ObserveInstance` that asks.
    pub op: OpId,
    /// The time at which the question is asked again.
    pub deadline_ms: u64,
}
