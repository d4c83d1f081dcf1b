//! Asks the engine about containers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::ListContainersOptions,
};
use hersh_base::endpoint::Endpoint;
use hersh_program::{ContainerId, InstanceId, InstanceStatus, Logs, ProgramId};
use hersh_storage::output::{CAUSE_LINES, for_cause, normal_time};

use super::{
    Inner,
    engine::Fault,
    names::{HOST_LABEL, PROGRAM_LABEL, container_name, instance_of},
    start_messages,
};
use hersh_sandbox::{RuntimeInfo, Unavailable};

impl Inner {
    pub(super) async fn check(&self) -> Result<RuntimeInfo, Unavailable> {
        let client = self.engine.client().await?;
        let unavailable = |error| self.engine.fault(&error).into_unavailable();
        let version = client.version().await.map_err(unavailable)?;
        let info = client.info().await.map_err(unavailable)?;
        if let Some(folder) = info.docker_root_dir {
            let _ = self.folder.set(folder.into());
        }
        let registered = info.runtimes.unwrap_or_default();
        let mut runtimes: Vec<String> = registered.into_keys().collect();
        runtimes.sort();
        let needed = self.config.runtime();
        if !runtimes.iter().any(|name| name == needed) {
            return Err(Unavailable {
                message: start_messages::missing_runtime(needed, self.config.kernel),
            });
        }
        let api = client.client_version();
        let api = format!("{}.{}", api.major_version, api.minor_version);
        Ok(RuntimeInfo {
            name: "container engine",
            version: version.version.unwrap_or_default(),
            facts: BTreeMap::from([("api", api), ("runtimes", runtimes.join(" "))]),
            kernel: self.config.kernel,
        })
    }

    /// Returns this host's containers, including dead ones; of one program or of all.
    pub(super) async fn containers(
        &self,
        program: Option<&ProgramId>,
    ) -> Result<Vec<ContainerSummary>, Unavailable> {
        let mut labels = vec![format!("{HOST_LABEL}={}", self.config.host_id)];
        labels.extend(program.map(|program| format!("{PROGRAM_LABEL}={program}")));
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..ListContainersOptions::default()
        };
        let ask = |client: Docker| {
            let options = options.clone();
            async move { client.list_containers(Some(options)).await }
        };
        self.engine.list(ask).await
    }

    /// Returns the container of an instance; `None` when there is none. The engine looks at no other
    /// container for this.
    pub(super) async fn find(
        &self,
        instance: &InstanceId,
    ) -> Result<Option<FoundContainer>, Unavailable> {
        let client = self.engine.client().await?;
        let name = container_name(&self.config.host_id, instance);
        match client.inspect_container(&name, None).await {
            Ok(inspected) => Ok(FoundContainer::read(
                inspected,
                &self.config.host_id,
                instance,
            )),
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                absent.map(|()| None).map_err(Fault::into_unavailable)
            }
        }
    }

    pub(super) async fn observe(
        self: &Arc<Self>,
        instance: &InstanceId,
    ) -> Result<InstanceStatus, Unavailable> {
        let Some(FoundContainer {
            container,
            inspected,
        }) = self.find(instance).await?
        else {
            return Ok(InstanceStatus::Absent);
        };
        if inspected.state.and_then(|state| state.running) == Some(true) {
            return Ok(InstanceStatus::Running(container));
        }
        let exit = self.exit(&instance.program, container.as_str()).await?;
        Ok(exit.map_or(InstanceStatus::Absent, |exit| {
            InstanceStatus::Exited(container, exit)
        }))
    }

    /// Returns the last lines printed by a container that was created at `created_at`, a time in the
    /// engine's form.
    pub(super) async fn last_lines(&self, program: &ProgramId, created_at: Option<&str>) -> Logs {
        let since = created_at.and_then(normal_time).unwrap_or_default();
        let lines = self
            .logs
            .tail(program, CAUSE_LINES)
            .await
            .unwrap_or_default();
        let lines = lines.iter().filter(|line| line.at >= since);
        for_cause(lines.map(|line| &line.text))
    }

    pub(super) async fn endpoint(
        &self,
        instance: &InstanceId,
    ) -> Result<Option<Endpoint>, Unavailable> {
        let found = self.find(instance).await?.map(|found| found.inspected);
        let running = found.filter(|it| it.state.as_ref().and_then(|it| it.running) == Some(true));
        Ok(running.and_then(|running| self.way_to(&instance.program, &running)))
    }

    /// Returns the endpoint of a running container: its address, or without a network its socket. `None` if
    /// the container should have an address and has none.
    pub(super) fn way_to(
        &self,
        program: &ProgramId,
        running: &ContainerInspectResponse,
    ) -> Option<Endpoint> {
        let config = running.host_config.as_ref();
        if config.and_then(|it| it.network_mode.as_deref()) == Some(NO_NETWORK) {
            return Some(self.storage.state_socket(program));
        }
        let settings = running.network_settings.as_ref();
        let networks = settings.and_then(|settings| settings.networks.as_ref());
        let address = networks
            .into_iter()
            .flat_map(HashMap::values)
            .find_map(|network| network.ip_address.as_ref()?.parse().ok());
        address.map(Endpoint::at)
    }
}

/// The engine's name of the network that leads nowhere.
const NO_NETWORK: &str = "none";

/// The container of an instance.
pub(super) struct FoundContainer {
    pub(super) container: ContainerId,
    pub(super) inspected: ContainerInspectResponse,
}

impl FoundContainer {
    /// Reads the engine's answer about the container with the name of `instance`; `None` if somebody else
    /// gave that name to another container.
    fn read(
        inspected: ContainerInspectResponse,
        host_id: &str,
        instance: &InstanceId,
    ) -> Option<Self> {
        let labels = inspected.config.as_ref()?.labels.as_ref()?;
        let name = inspected.name.as_deref()?.strip_prefix('/')?;
        let is_own = labels.get(HOST_LABEL).map(String::as_str) == Some(host_id);
        let is_it = instance_of(labels, [name].into_iter()).as_ref() == Some(instance);
        if !is_own || !is_it {
            return None;
        }
        Some(Self {
            container: ContainerId::parse(inspected.id.as_deref()?).ok()?,
            inspected,
        })
    }
}
