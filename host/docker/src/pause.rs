//! Pauses the sandbox of an instance, so that its files can be read.

use hersh_program::InstanceId;

use super::{Inner, engine::Fault};
use hersh_sandbox::StopError;

impl Inner {
    /// Freezes the sandbox: none of its tasks runs until [`Inner::unpause`].
    pub(super) async fn pause(&self, instance: &InstanceId) -> Result<(), StopError> {
        let Some(found) = self.find(instance).await? else {
            let message = format!("instance {instance} is not there");
            return Err(StopError::Failed { message });
        };
        let client = self.engine.client().await?;
        match client.pause_container(found.container.as_str()).await {
            Ok(()) => Ok(()),
            Err(error) => match self.engine.fault(&error) {
                Fault::Unavailable(error) => Err(error.into()),
                Fault::NotFound(message) | Fault::Conflict(message) | Fault::Refused(message) => {
                    Err(StopError::Failed { message })
                }
            },
        }
    }

    /// Lets the sandbox go on. A sandbox that is not paused, or not there, is a success.
    pub(super) async fn unpause(&self, instance: &InstanceId) -> Result<(), StopError> {
        let Some(found) = self.find(instance).await? else {
            return Ok(());
        };
        let client = self.engine.client().await?;
        let id = found.container.as_str();
        let Err(error) = client.unpause_container(id).await else {
            return Ok(());
        };
        let message = match self.engine.fault(&error) {
            Fault::NotFound(_) => return Ok(()),
            Fault::Unavailable(error) => return Err(error.into()),
            Fault::Conflict(message) | Fault::Refused(message) => message,
        };
        // Engines refuse to wake a sandbox that does not sleep, each in its own words.
        let inspected = client.inspect_container(id, None).await;
        let state = inspected.ok().and_then(|inspected| inspected.state);
        match state.and_then(|state| state.paused) {
            Some(false) => Ok(()),
            Some(true) | None => Err(StopError::Failed { message }),
        }
    }
}
