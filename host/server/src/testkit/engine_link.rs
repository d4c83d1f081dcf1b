//! The way to a [`FakeEngine`], in this process or behind a socket.

use std::sync::Arc;

use hersh_program::{ContainerId, ImageId, InstanceId, InstanceStatus};
use hersh_sandbox::{ListedInstance, Spec};
use tokio::sync::mpsc;

use super::{
    Answer, EndedInstance, FakeEngine, Operation, Reply, Trouble, remote::Remote, trouble::strange,
};

/// The way to a fake engine.
pub(super) enum EngineLink {
    /// The engine is in this process.
    Here(Arc<FakeEngine>),
    /// Another process serves the engine at a socket.
    There(Remote),
}

impl EngineLink {
    /// The engine, if it is in this process.
    pub(super) fn here(&self) -> Option<&FakeEngine> {
        match self {
            Self::Here(engine) => Some(engine),
            Self::There(_) => None,
        }
    }

    /// Asks the engine to carry out `operation`.
    pub(super) async fn ask(&self, operation: Operation) -> Reply {
        match self {
            Self::Here(engine) => engine.carry_out(operation).await,
            Self::There(remote) => remote.carry_out(operation).await,
        }
    }

    /// Asks for an image.
    pub(super) async fn find_image(
        &self,
        operation: Operation,
    ) -> Result<Option<ImageId>, Trouble> {
        match self.ask(operation).await? {
            Answer::Image(image) => Ok(image),
            Answer::Done | Answer::Started(_) | Answer::Observed(_) | Answer::Listed(_) => {
                Err(strange())
            }
        }
    }

    /// Looks at one instance.
    pub(super) async fn look(&self, instance: &InstanceId) -> Result<InstanceStatus, Trouble> {
        match self.ask(Operation::Observe(instance.clone())).await? {
            Answer::Observed(observed) => Ok(observed),
            Answer::Done | Answer::Image(_) | Answer::Started(_) | Answer::Listed(_) => {
                Err(strange())
            }
        }
    }

    /// Looks for every instance.
    pub(super) async fn find_all(&self) -> Result<Vec<ListedInstance>, Trouble> {
        let listed = |(instance, container, running)| ListedInstance {
            instance,
            container,
            running,
        };
        match self.ask(Operation::List).await? {
            Answer::Listed(all) => Ok(all.into_iter().map(listed).collect()),
            Answer::Done | Answer::Image(_) | Answer::Started(_) | Answer::Observed(_) => {
                Err(strange())
            }
        }
    }

    /// Starts the instance that `spec` describes.
    pub(super) async fn start_container(&self, spec: &Spec) -> Result<ContainerId, Trouble> {
        let (instance, image) = (spec.instance.clone(), spec.image.clone());
        let (memory_bytes, network) = (spec.bounds.memory_bytes, spec.network);
        match self
            .ask(Operation::Start(instance, image, memory_bytes, network))
            .await?
        {
            Answer::Started(container) => Ok(container),
            Answer::Done | Answer::Image(_) | Answer::Observed(_) | Answer::Listed(_) => {
                Err(strange())
            }
        }
    }

    /// Returns the ends of instances from now on.
    pub(super) fn observe(&self) -> mpsc::Receiver<EndedInstance> {
        match self {
            Self::Here(engine) => engine.observe(),
            Self::There(remote) => remote.observe(),
        }
    }
}
