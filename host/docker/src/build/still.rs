//! A container that is made of an image to look into it, and never runs.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::CreateContainerOptions,
};
use hersh_program::ProgramId;

use super::{
    steps,
    user_files::{EntryError, Look, failed},
};
use crate::names::LAYER_LABEL;
use crate::{Inner, remove};
use hersh_sandbox::StopError;

/// What has to be [removed](Self::remove) after the look.
pub(super) struct Still<'a> {
    inner: &'a Inner,
    client: Docker,
    container: String,
}

impl<'a> Still<'a> {
    /// Makes one of an image, by its id. Nothing may be collected meanwhile.
    ///
    /// # Errors
    /// [`EntryError`] when the engine does not make it.
    pub(super) async fn of(
        inner: &'a Inner,
        program: &ProgramId,
        image: &str,
    ) -> Result<Self, EntryError> {
        let client = inner.engine.client().await?;
        let label = (LAYER_LABEL.to_owned(), inner.config.host_id.clone());
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // An image without a command is none that a container is made of; it is never run.
            cmd: Some(vec!["/".to_owned()]),
            labels: Some(HashMap::from([label])),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                // By this it is removed with what a cancelled build left.
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

    /// A look into it.
    pub(super) fn look(&self) -> Look<'_> {
        Look {
            inner: self.inner,
            client: &self.client,
            container: &self.container,
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// [`EntryError`] when the engine does not.
    pub(super) async fn remove(self) -> Result<(), EntryError> {
        match remove::force(self.inner, &self.container).await {
            Ok(()) => Ok(()),
            Err(StopError::Unavailable(error)) => Err(error.into()),
            Err(StopError::Failed { message }) => Err(EntryError::Failed { message }),
        }
    }
}
