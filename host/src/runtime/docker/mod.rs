//! [`Runtime`] on the Docker Engine, 20.10 and newer, through its API.
//!
//! What belongs to a host carries its label, what belongs to a program the program's as well, so
//! everything is found again after a crash of either side: nothing here is kept that the engine
//! could not tell.

mod build;
mod capture;
mod context;
mod create;
mod diagnose;
mod engine;
mod events;
mod firewall;
mod inspect;
mod look;
mod network;
mod probe;
mod processes;
mod remove;
mod start;
mod work;

pub(crate) use diagnose::diagnose;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions},
};
use futures_util::future::BoxFuture;
use hersh_program::{BuildId, ContainerId, Exit, ExitReason, ImageId, Logs, Observed, ProgramId};
use tokio::sync::mpsc;

use self::{
    capture::Captures,
    engine::{Engine, Fault},
    work::Work,
};
use super::{
    BuildError, BuildRequest, EVENT_QUEUE, EngineInfo, Listed, LogStore, Running, Runtime,
    RuntimeEvent, StartError, StopError, Unavailable,
    logs::{CAUSE_LINES, for_cause, normal_time},
};
use crate::{
    compose::{Environment, HOST_LABEL, PROGRAM_LABEL, RuntimeMode, Spec},
    storage::Storage,
};

/// Where the engine is and what this host allows.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's Unix socket.
    pub socket: PathBuf,
    /// Names this host among those that share the engine: a DNS label.
    pub host_id: String,
    /// What programs run on.
    pub mode: RuntimeMode,
    /// A /16 whose addresses sandboxes get. Taken a /22 at a time, those that clash are skipped.
    pub subnet_pool: Ipv4Addr,
    /// Memory of one step of a build, bytes; at most 2 GiB.
    pub build_memory_bytes: u64,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/docker.sock"),
            host_id: "local".to_owned(),
            mode: RuntimeMode::Runsc,
            subnet_pool: Ipv4Addr::new(10, 214, 0, 0),
            build_memory_bytes: 2 * 1024 * 1024 * 1024 - 1,
        }
    }
}

/// The Docker Engine. Cheap to clone.
#[derive(Clone)]
pub struct DockerRuntime {
    inner: Arc<Inner>,
}

/// What the operations share.
struct Inner {
    config: DockerConfig,
    engine: Engine,
    storage: Storage,
    logs: LogStore,
    probe: PathBuf,
    work: Work,
    captures: Captures,
}

impl DockerRuntime {
    /// A runtime on the engine at `config.socket`, which is not contacted yet. Blocks shortly: it
    /// writes the kernel probe into the data folder.
    ///
    /// # Errors
    /// [`Unavailable`] when the probe can't be written or does not exist for this processor.
    pub fn new(config: DockerConfig, storage: Storage) -> Result<Self, Unavailable> {
        let probe = storage.data_dir().join("probe");
        probe::install(&probe).map_err(|error| Unavailable {
            message: format!("the kernel probe {}: {error}", probe.display()),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine: Engine::new(config.socket.clone()),
                logs: LogStore::new(storage.clone()),
                work: Work::default(),
                captures: Captures::default(),
                config,
                storage,
                probe,
            }),
        })
    }
}

impl Runtime for DockerRuntime {
    fn environment(&self, program: &ProgramId) -> Environment {
        Environment {
            host_id: self.inner.config.host_id.clone(),
            mode: self.inner.config.mode,
            state_dir: self.inner.storage.paths(program).state,
            probe: self.inner.probe.clone(),
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<EngineInfo, Unavailable>> {
        Box::pin(self.inner.check())
    }

    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let program = request.program.clone();
            let job = |cancel| build::build(inner, request, cancel);
            self.inner.work.run(&program, job).await
        })
    }

    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Running, StartError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let program = spec.program.clone();
            let job = |cancel| start::start(inner, spec, cancel);
            self.inner.work.run(&program, job).await
        })
    }

    fn stop(&self, program: &ProgramId, grace: Duration) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move {
            let job = remove::all(Arc::clone(&self.inner), program.clone(), grace);
            self.inner.work.run_instead(&program, job).await
        })
    }

    fn observe(&self, program: &ProgramId) -> BoxFuture<'_, Result<Observed, Unavailable>> {
        let program = program.clone();
        Box::pin(async move { self.inner.observe(&program).await })
    }

    fn events(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        tokio::spawn(events::run(Arc::clone(&self.inner), sender));
        receiver
    }

    fn logs(&self, program: &ProgramId, tail: usize) -> BoxFuture<'_, Logs> {
        let program = program.clone();
        Box::pin(async move {
            let lines = self.inner.logs.tail(&program, tail.min(CAUSE_LINES)).await;
            for_cause(lines.unwrap_or_default().iter().map(|line| &line.text))
        })
    }

    fn log_store(&self) -> &LogStore {
        &self.inner.logs
    }

    fn address(&self, program: &ProgramId) -> BoxFuture<'_, Result<Option<IpAddr>, Unavailable>> {
        let program = program.clone();
        Box::pin(async move { self.inner.address(&program).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Unavailable>> {
        Box::pin(async move {
            let containers = self.inner.containers(None).await?;
            Ok(containers.iter().filter_map(listed).collect())
        })
    }

    fn image(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>> {
        let (program, build) = (program.clone(), build.clone());
        Box::pin(async move { self.inner.built(&program, &build).await })
    }

    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move {
            self.inner.logs.forget(&program);
            self.inner.remove_images(&program).await
        })
    }
}

impl Inner {
    async fn check(&self) -> Result<EngineInfo, Unavailable> {
        let client = self.engine.client().await?;
        let unavailable = |error| self.engine.fault(&error).into_unavailable();
        let version = client.version().await.map_err(unavailable)?;
        let info = client.info().await.map_err(unavailable)?;
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
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
    async fn containers(
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
        let client = self.engine.client().await?;
        client
            .list_containers(Some(options))
            .await
            .map_err(|error| self.engine.fault(&error).into_unavailable())
    }

    async fn observe(&self, program: &ProgramId) -> Result<Observed, Unavailable> {
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

    /// How a container ended; `None` when it runs or is not there.
    async fn exit(&self, program: &ProgramId, id: &str) -> Result<Option<Exit>, Unavailable> {
        let client = self.engine.client().await?;
        let inspected = match client.inspect_container(id, None).await {
            Ok(inspected) => inspected,
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                return absent.map(|()| None).map_err(Fault::into_unavailable);
            }
        };
        let state = inspected.state.unwrap_or_default();
        if state.running.unwrap_or(false) {
            return Ok(None);
        }
        let code = i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1);
        Ok(Some(Exit {
            reason: if state.oom_killed.unwrap_or(false) {
                ExitReason::OutOfMemory
            } else {
                ExitReason::Code(code)
            },
            logs: self.last_lines(program, inspected.created.as_deref()).await,
        }))
    }

    /// The last lines printed by a container created at `created_at`, the engine's form of a time.
    async fn last_lines(&self, program: &ProgramId, created_at: Option<&str>) -> Logs {
        let since = created_at.and_then(normal_time).unwrap_or_default();
        let lines = self
            .logs
            .tail(program, CAUSE_LINES)
            .await
            .unwrap_or_default();
        let lines = lines.iter().filter(|line| line.at >= since);
        for_cause(lines.map(|line| &line.text))
    }

    async fn address(&self, program: &ProgramId) -> Result<Option<IpAddr>, Unavailable> {
        let containers = self.containers(Some(program)).await?;
        let running = containers.into_iter().find(is_running);
        let networks = running
            .and_then(|container| container.network_settings)
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        Ok(networks
            .into_values()
            .find_map(|network| network.ip_address?.parse().ok()))
    }

    async fn built(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> Result<Option<ImageId>, Unavailable> {
        let client = self.engine.client().await?;
        match client.inspect_image(&image_tag(program, build)).await {
            Ok(image) => Ok(image.id.and_then(|id| ImageId::parse(&id).ok())),
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                absent.map(|()| None).map_err(Fault::into_unavailable)
            }
        }
    }

    async fn remove_images(&self, program: &ProgramId) -> Result<(), StopError> {
        let client = self.engine.client().await?;
        let refuse = |error| match self.engine.fault(&error).message() {
            Ok(message) => StopError::Failed {
                message: format!("the images of {program} could not be removed: {message}"),
            },
            Err(error) => error.into(),
        };
        let filter = ("reference".to_owned(), vec![format!("hersh/{program}")]);
        let options = ListImagesOptions {
            filters: Some(HashMap::from([filter])),
            ..ListImagesOptions::default()
        };
        let images = client.list_images(Some(options)).await.map_err(refuse)?;
        let prefix = format!("hersh/{program}:");
        let tags = images.into_iter().flat_map(|image| image.repo_tags);
        for tag in tags.filter(|tag| tag.starts_with(&prefix)) {
            let options = RemoveImageOptions {
                force: true,
                ..RemoveImageOptions::default()
            };
            if let Err(error) = client.remove_image(&tag, Some(options), None).await
                && !matches!(self.engine.fault(&error), Fault::NotFound(_))
            {
                return Err(refuse(error));
            }
        }
        Ok(())
    }
}

/// The name under which the image of a source tree is found again.
fn image_tag(program: &ProgramId, build: &BuildId) -> String {
    format!("hersh/{program}:{build}")
}

fn listed(container: &ContainerSummary) -> Option<Listed> {
    Some(Listed {
        program: program_of(container)?,
        container: ContainerId::parse(container.id.as_deref()?).ok()?,
        running: is_running(container),
    })
}

fn program_of(container: &ContainerSummary) -> Option<ProgramId> {
    let labels = container.labels.as_ref()?;
    ProgramId::parse(labels.get(PROGRAM_LABEL)?).ok()
}

fn is_running(container: &ContainerSummary) -> bool {
    matches!(
        container.state,
        Some(
            ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
        )
    )
}
