//! What a host asks of a fake engine and what comes back, as data that can cross a socket.

use std::time::Duration;

use hersh_program::{
    BuildId, ContainerId, Exit, ImageId, InstanceId, InstanceStatus, Instances, NetworkMode,
    ProgramId,
};
use serde::{Deserialize, Serialize};

use super::Silence;

/// One request to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Whether it answers.
    Check,
    /// Build an image; one that stands is answered with.
    Build(ProgramId, BuildId),
    /// Make an instance, of an image, with as much memory, bytes, and with that network, in place of what
    /// an earlier attempt at the same one left.
    Start(InstanceId, ImageId, u64, NetworkMode),
    /// Remove instances of a program.
    Stop(ProgramId, Instances),
    /// Look at an instance.
    Observe(InstanceId),
    /// Every instance.
    List,
    /// Look for an image.
    Image(ProgramId, BuildId),
    /// Remove the program's images.
    Forget(ProgramId),
}

impl Operation {
    /// Whose containers or images it changes; `None` if it only looks.
    #[must_use]
    pub fn changes(&self) -> Option<&ProgramId> {
        match self {
            Self::Build(program, _) | Self::Stop(program, _) | Self::Forget(program) => {
                Some(program)
            }
            Self::Start(instance, ..) => Some(&instance.program),
            Self::Check | Self::Observe(_) | Self::List | Self::Image(..) => None,
        }
    }
}

/// The outcome of a request.
pub type Reply = Result<Answer, Trouble>;

/// What a request brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// An image, where there is one.
    Image(Option<ImageId>),
    /// What the instance is called that was made.
    Started(ContainerId),
    /// What was seen of a program.
    Observed(InstanceStatus),
    /// Every instance, and whether it runs.
    Listed(Vec<(InstanceId, ContainerId, bool)>),
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// A build or a start could not be done, and why.
    Failed(String),
    /// The image that was to be started is not there.
    ImageGone(ImageId),
    /// The engine does not answer. It may have done it.
    Unavailable(String),
}

/// The end of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedInstance {
    /// The instance.
    pub instance: InstanceId,
    /// What it is called in the engine.
    pub container: ContainerId,
    /// How.
    pub exit: Exit,
}

/// How a request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationOutcome {
    /// Passes before it is done.
    pub before: Duration,
    /// What becomes of it.
    pub fate: Fate,
    /// Passes before the answer comes.
    pub after: Duration,
    /// It is done all the same, at once, when whoever asked goes away before.
    pub finishes_when_abandoned: bool,
    /// How long the instance that a start makes does not answer its liveness probe; `None` if it answers.
    pub silence: Option<Silence>,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    #[default]
    Done,
    /// It is not done, and the answer says why. Operations but builds and starts have no way to
    /// fail but an engine that does not answer.
    Failed(String),
    /// It is not done, and nobody answers.
    Unavailable,
    /// It is done, and nobody answers.
    AnswerLost,
}
