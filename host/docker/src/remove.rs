//! Ends containers and removes what they leave.

use std::{sync::Arc, time::Duration};

use bollard::{
    models::{ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{RemoveContainerOptions, StopContainerOptions},
};
use futures_util::future::join_all;
use hersh_program::{InstanceId, Instances, ProgramId};

use super::{
    Inner,
    engine::{Fault, REQUEST},
    inspect, processes,
};
use hersh_sandbox::{StopError, Unavailable};

/// How long a container may take to vanish after the engine was told to remove it.
const VANISH: Duration = Duration::from_secs(20);
const VANISH_POLL: Duration = Duration::from_millis(50);

/// Stops and removes the containers of these instances.
pub(super) async fn stop(
    inner: Arc<Inner>,
    program: ProgramId,
    instances: Instances,
    grace: Duration,
) -> Result<(), StopError> {
    let containers = own(&inner, &program, instances).await?;
    let ended = join_all(
        containers
            .iter()
            .map(|container| stop_and_remove(&inner, &program, container, grace)),
    );
    ended.await.into_iter().collect()
}

/// Kills what runs of these instances, and leaves the killed containers there.
pub(super) async fn kill(
    inner: &Inner,
    program: &ProgramId,
    instances: Instances,
) -> Result<(), StopError> {
    let client = inner.engine.client().await?;
    for container in own(inner, program, instances).await? {
        if !super::is_running(&container) {
            continue;
        }
        let Some(id) = container.id else {
            continue;
        };
        // Without options the signal is SIGKILL.
        if let Err(error) = client.kill_container(&id, None).await {
            match inner.engine.fault(&error) {
                // The container ended by itself.
                Fault::NotFound(_) | Fault::Conflict(_) => {}
                Fault::Unavailable(error) => return Err(error.into()),
                Fault::Refused(message) => {
                    let message = format!("container {id} could not be killed: {message}");
                    return Err(StopError::Failed { message });
                }
            }
        }
    }
    Ok(())
}

/// Removes the containers that an earlier attempt to start the instance left, without asking them to stop.
pub(super) async fn leftovers(inner: &Arc<Inner>, instance: &InstanceId) -> Result<(), StopError> {
    let InstanceId { program, number } = instance;
    let containers = own(inner, program, Instances::One(*number)).await?;
    let ids = containers.iter().filter_map(|it| it.id.as_deref());
    join_all(ids.map(async |id| {
        last_words(inner, program, id).await;
        force(inner, id).await
    }))
    .await
    .into_iter()
    .collect()
}

/// Stores what a container printed until its end, if it ended. Its output is removed with it, and would
/// otherwise be lost.
async fn last_words(inner: &Arc<Inner>, program: &ProgramId, id: &str) {
    let Ok(client) = inner.engine.client().await else {
        return;
    };
    let Ok(inspected) = client.inspect_container(id, None).await else {
        return;
    };
    let status = inspected.state.and_then(|state| state.status);
    // A container that was never started printed nothing.
    if status != Some(ContainerStateStatusEnum::CREATED) {
        let limit_bytes = inspect::log_bytes(&inspected.host_config.unwrap_or_default());
        inner.captures.ensure(inner, program, id, limit_bytes);
        inner.captures.finish(id).await;
    }
}

/// Returns the containers of these instances, without steps of builds that only carry the labels of an
/// instance.
async fn own(
    inner: &Inner,
    program: &ProgramId,
    instances: Instances,
) -> Result<Vec<ContainerSummary>, Unavailable> {
    let mut containers = inner.containers(Some(program)).await?;
    containers.retain(|container| {
        super::listed(container).is_some_and(|listed| match instances {
            Instances::All => true,
            Instances::One(number) => listed.instance.number == number,
        })
    });
    Ok(containers)
}

/// Kills and removes one container with its anonymous volumes, and waits until it is gone. A container that
/// is not there is a success.
pub(super) async fn force(inner: &Inner, id: &str) -> Result<(), StopError> {
    let client = inner.engine.client().await?;
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        link: false,
    };
    if let Err(error) = client.remove_container(id, Some(options)).await {
        match inner.engine.fault(&error) {
            Fault::NotFound(_) => {}
            // Somebody else removes it at this moment.
            Fault::Conflict(_) => wait_until_gone(inner, id).await?,
            Fault::Unavailable(error) => return Err(error.into()),
            Fault::Refused(message) => return Err(failed(id, &message)),
        }
    }
    inner
        .started()
        .retain(|container, _| container.as_str() != id);
    inner.captures.forget(id);
    inner.flows.end(id).await;
    processes::end(id).await;
    Ok(())
}

async fn stop_and_remove(
    inner: &Arc<Inner>,
    program: &ProgramId,
    container: &ContainerSummary,
    grace: Duration,
) -> Result<(), StopError> {
    let Some(id) = container.id.as_deref() else {
        return Ok(());
    };
    if super::is_running(container) {
        let client = inner.engine.client().await?.with_timeout(grace + REQUEST);
        if container.state == Some(ContainerSummaryStateEnum::PAUSED) {
            // A frozen program does not see the stop signal, and the engine waits ten seconds more for one that
            // it has killed. If the container can't be unpaused, it is killed all the same once both are over.
            let _ = client.unpause_container(id).await;
        }
        // Engines take whole seconds only.
        let seconds = i32::try_from(grace.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
        let options = StopContainerOptions {
            t: Some(seconds),
            signal: None,
        };
        if let Err(error) = client.stop_container(id, Some(options)).await {
            match inner.engine.fault(&error) {
                Fault::Unavailable(error) => return Err(error.into()),
                // The container is gone already, or can't be stopped: the removal below kills it.
                Fault::NotFound(_) | Fault::Conflict(_) | Fault::Refused(_) => {}
            }
        }
    }
    last_words(inner, program, id).await;
    force(inner, id).await
}

async fn wait_until_gone(inner: &Inner, id: &str) -> Result<(), StopError> {
    let client = inner.engine.client().await?;
    let gone = async {
        loop {
            if let Err(error) = client.inspect_container(id, None).await {
                match inner.engine.fault(&error) {
                    Fault::NotFound(_) => return Ok(()),
                    Fault::Unavailable(error) => return Err(error.into()),
                    Fault::Conflict(_) | Fault::Refused(_) => {}
                }
            }
            tokio::time::sleep(VANISH_POLL).await;
        }
    };
    tokio::time::timeout(VANISH, gone)
        .await
        .unwrap_or_else(|_late| Err(failed(id, "its removal does not come to an end")))
}

fn failed(id: &str, message: &str) -> StopError {
    StopError::Failed {
        message: format!("container {id} could not be removed: {message}"),
    }
}
