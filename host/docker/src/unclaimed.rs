//! Finds containers whose `/state` lies in a data folder, whatever host their labels name.
//!
//! A host knows its own containers by the id in its journal. If the journal is lost, the folder that a
//! container has mounted still shows to which data folder it belongs.

use std::{collections::HashMap, path::Path};

use bollard::{
    models::ContainerSummary,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use hersh_program::ContainerId;

use super::{engine::Engine, is_running};
use hersh_sandbox::Unavailable;

use super::names::{HOST_LABEL, PROGRAM_LABEL};

/// The folder in which a program finds its state.
const STATE: &str = "/state";

/// A container of a program whose state lies in a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclaimedContainer {
    /// The engine's id of the container.
    pub container: ContainerId,
    /// The program that the container's label names.
    pub program: String,
    /// The host that the container's label names.
    pub host_id: String,
    /// Whether the container runs now.
    pub running: bool,
}

/// Returns the containers whose state is below `programs`, on the engine behind `socket`.
///
/// # Errors
/// [`Unavailable`] when the engine does not answer.
pub async fn unclaimed_containers(
    socket: &Path,
    programs: &Path,
) -> Result<Vec<UnclaimedContainer>, Unavailable> {
    let engine = Engine::new(socket.to_owned());
    let labels = vec![HOST_LABEL.to_owned()];
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), labels)])),
        ..ListContainersOptions::default()
    };
    let client = engine.client().await?;
    let all = client.list_containers(Some(options)).await;
    let all = all.map_err(|error| engine.fault(&error).into_unavailable())?;
    let unclaimed = all.iter().filter(|it| keeps_below(it, programs));
    Ok(unclaimed.filter_map(read).collect())
}

/// Kills and removes a container. A container that is not there is a success.
///
/// # Errors
/// [`Unavailable`] when the engine does not answer, or does not remove the container.
pub async fn remove(socket: &Path, unclaimed: &UnclaimedContainer) -> Result<(), Unavailable> {
    let engine = Engine::new(socket.to_owned());
    let client = engine.client().await?;
    let options = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    let id = unclaimed.container.as_str();
    match client.remove_container(id, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let fault = engine.fault(&error).unless_absent();
            fault.map_err(super::engine::Fault::into_unavailable)
        }
    }
}

fn keeps_below(container: &ContainerSummary, programs: &Path) -> bool {
    container.mounts.iter().flatten().any(|mount| {
        let source = mount.source.as_deref().unwrap_or_default();
        mount.destination.as_deref() == Some(STATE) && Path::new(source).starts_with(programs)
    })
}

fn read(container: &ContainerSummary) -> Option<UnclaimedContainer> {
    let labels = container.labels.as_ref()?;
    Some(UnclaimedContainer {
        container: ContainerId::parse(container.id.as_deref()?).ok()?,
        program: labels.get(PROGRAM_LABEL).cloned().unwrap_or_default(),
        host_id: labels.get(HOST_LABEL)?.clone(),
        running: is_running(container),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::MountPoint;

    use super::*;

    #[test]
    fn a_container_belongs_where_its_state_lies() {
        let mounted = |destination: &str, source: &str| ContainerSummary {
            mounts: Some(vec![MountPoint {
                destination: Some(destination.to_owned()),
                source: Some(source.to_owned()),
                ..MountPoint::default()
            }]),
            ..ContainerSummary::default()
        };
        for (container, expected) in [
            (mounted("/state", "/data/programs/a/state"), true),
            (mounted("/state", "/data/programs-2/a/state"), false),
            (mounted("/state", "/other/programs/a/state"), false),
            (mounted("/tmp", "/data/programs/a/state"), false),
            (ContainerSummary::default(), false),
        ] {
            let found = keeps_below(&container, Path::new("/data/programs"));
            assert_eq!(found, expected, "{container:?}");
        }
    }
}
