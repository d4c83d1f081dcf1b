//! Questions to the engine.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use bollard::{Docker, models::ContainerSummary, query_parameters::ListContainersOptions};
use hersh_program::{ContainerId, Logs, Observed, ProgramId};
use hersh_storage::output::{CAUSE_LINES, for_cause, normal_time};

use super::{Inner, engine::Fault, listed, start};
use crate::{
    compose::{HOST_LABEL, PROGRAM_LABEL, RuntimeMode},
    runtime::{EngineInfo, Unavailable},
};

impl Inner {
    pub(super) async fn check(&self) -> Result<EngineInfo, Unavailable> {
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
        let needed = match self.config.mode {
            RuntimeMode::Runsc => "runsc",
            RuntimeMode::RuncForDevelopment => "runc",
        };
        if !runtimes.iter().any(|name| name == needed) {
            return Err(Unavailable {
                message: start::missing_runtime(needed, self.config.mode),
            });
        }
        let api = client.client_version();
        Ok(EngineInfo {
            version: version.version.unwrap_or_default(),
            api_version: format!("{}.{}", api.major_version, api.minor_version),
            runtimes,
            mode: self.config.mode,
        })
    }

    /// This host's containers, dead ones too; of one program or of all.
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

    pub(super) async fn observe(
        self: &Arc<Self>,
        program: &ProgramId,
    ) -> Result<Observed, Unavailable> {
        let containers = self.containers(Some(program)).await?;
        let mut dead = None;
        for container in &containers {
            let Some(one) = listed(container) else {
                continue;
            };
            if one.running {
                return Ok(Observed::Running(one.container));
            }
            dead = dead.or(Some(one.container));
        }
        let Some(container) = dead else {
            return Ok(Observed::Absent);
        };
        Ok(match self.exit(program, container.as_str()).await? {
            Some(exit) => Observed::Exited(container, exit),
            None => Observed::Absent,
        })
    }

    pub(super) async fn observe_container(
        self: &Arc<Self>,
        program: &ProgramId,
        container: &ContainerId,
    ) -> Result<Observed, Unavailable> {
        let client = self.engine.client().await?;
        let id = container.as_str();
        let running = match client.inspect_container(id, None).await {
            Ok(inspected) => inspected.state.and_then(|state| state.running),
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                absent.map_err(Fault::into_unavailable)?;
                return Ok(Observed::Absent);
            }
        };
        if running.unwrap_or(false) {
            return Ok(Observed::Running(container.clone()));
        }
        Ok(match self.exit(program, id).await? {
            Some(exit) => Observed::Exited(container.clone(), exit),
            None => Observed::Absent,
        })
    }

    /// The last lines printed by a container created at `created_at`, the engine's form of a time.
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

    pub(super) async fn address(&self, program: &ProgramId) -> Result<Option<IpAddr>, Unavailable> {
        let containers = self.containers(Some(program)).await?;
        let runs = |container: &ContainerSummary| listed(container).is_some_and(|it| it.running);
        let running = containers.into_iter().find(runs);
        let networks = running
            .and_then(|container| container.network_settings)
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        Ok(networks
            .into_values()
            .find_map(|network| network.ip_address?.parse().ok()))
    }
}
