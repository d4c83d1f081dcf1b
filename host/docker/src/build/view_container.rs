//! A container that is made from an image only to look into it, and never runs.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::CreateContainerOptions,
};
use hersh_program::ProgramId;

use super::{
    steps,
    user_files::{EntryError, FilesView, failed},
};
use crate::names::LAYER_LABEL;
use crate::{Inner, remove};
use hersh_sandbox::StopError;

/// The container. It has to be [removed](Self::remove) after the look.
pub(super) struct ViewContainer<'a> {
    inner: &'a Inner,
    client: Docker,
    container: String,
}

impl<'a> ViewContainer<'a> {
    /// Makes a container from the image with the id `image`. Nothing may be collected meanwhile: collecting
    /// would remove the container as one that a crash left.
    ///
    /// # Errors
    /// [`EntryError`] when the engine does not make the container.
    pub(super) async fn of(
        inner: &'a Inner,
        program: &ProgramId,
        image: &str,
    ) -> Result<Self, EntryError> {
        let client = inner.engine.client().await?;
        let label = (LAYER_LABEL.to_owned(), inner.config.host_id.clone());
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // An engine makes no container without a command, and the image may have none. This command is
            // never run.
            cmd: Some(vec!["/".to_owned()]),
            labels: Some(HashMap::from([label])),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                // By this marker, the container is removed with what a cancelled build left.
                extra_hosts: Some(vec![steps::marker(inner, program)]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let made = client.create_container(None::<CreateContainerOptions>, body);
        let made = made.await;
        let container = made.map_err(|error| failed(inner.engine.fault(&error)))?.id;
        Ok(Self {
            inner,
            client,
            container,
        })
    }

    /// Returns a view into the container.
    pub(super) fn look(&self) -> FilesView<'_> {
        FilesView {
            inner: self.inner,
            client: &self.client,
            container: &self.container,
        }
    }

    /// Removes the container.
    ///
    /// # Errors
    /// [`EntryError`] when the engine does not remove it.
    pub(super) async fn remove(self) -> Result<(), EntryError> {
        match remove::force(self.inner, &self.container).await {
            Ok(()) => Ok(()),
            Err(StopError::Unavailable(error)) => Err(error.into()),
            Err(StopError::Failed { message }) => Err(EntryError::Failed { message }),
        }
    }
}
