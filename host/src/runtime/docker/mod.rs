//! [`Runtime`] on the Docker Engine, 20.10 and newer, through its API.
//!
//! What belongs to a host carries its label, what belongs to a program the program's as well, so
//! everything is found again after a crash of either side: nothing here is kept that the engine
//! could not tell.

mod accounts;
mod addresses;
mod base;
mod build;
mod build_connection;
mod build_network;
mod build_steps;
mod capture;
mod config;
mod counters;
mod create;
mod culprit;
mod diagnose;
mod ends;
mod engine;
mod errands;
mod events;
mod fetch;
mod fetched;
mod files;
mod firewall;
mod first_process;
mod flows;
mod from_engine;
mod from_files;
mod images;
mod inspect;
mod kernel_log;
mod lines;
mod listeners;
mod look;
mod machine;
mod narrator;
mod network;
mod notices;
mod pace;
mod pause;
mod places;
#[cfg(test)]
mod played;
mod ports;
mod probe;
mod processes;
mod query;
mod remove;
mod room;
mod runsc;
mod spool;
mod start;
mod stats;
mod still;
mod strays;
mod subnets;
mod trees;
mod trial;
mod trial_network;
mod user_entry;
mod user_files;
mod work;

pub use config::DockerConfig;
pub(crate) use diagnose::diagnose;
pub use network::MEMBERS_MAX;
pub use strays::Stray;
pub(crate) use strays::{remove as remove_stray, strays};

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use futures_util::future::BoxFuture;
use hersh_program::{BuildId, ContainerId, ImageId, Logs, Observed, ProgramId};
use hersh_storage::{
    Storage,
    output::{CAUSE_LINES, LogStore, for_cause},
};
use tokio::sync::mpsc;

use self::{capture::Captures, engine::Engine, fetched::Fetched, flows::Flows, work::Work};
use super::{
    BuildError, BuildRequest, Collected, EVENT_QUEUE, EngineInfo, InUse, Kept, Listed, OnDeath,
    Running, Runtime, RuntimeEvent, StartError, StartTurn, Stats, StopError, Unavailable,
};
use crate::compose::{Environment, PROGRAM_LABEL, Spec, container_name};

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
    flows: Flows,
    /// Read by builds while they run, written by who collects what they left.
    building: tokio::sync::RwLock<()>,
    /// Containers that this process started and nobody is known to have ended.
    started: Mutex<HashMap<ContainerId, ProgramId>>,
    fetched: Arc<Fetched>,
    proved: trial::Proved,
    runscs: runsc::Known,
    sound: places::Sound,
    addresses: addresses::Addresses,
    /// Told of containers that are dead.
    on_death: OnceLock<OnDeath>,
    /// Where the engine keeps images, once it was asked for.
    folder: OnceLock<PathBuf>,
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
                flows: Flows::default(),
                building: tokio::sync::RwLock::default(),
                started: Mutex::default(),
                fetched: Arc::new(Fetched::open(storage.clone())),
                proved: trial::Proved::default(),
                runscs: runsc::Known::default(),
                sound: places::Sound::default(),
                addresses: addresses::Addresses::default(),
                on_death: OnceLock::new(),
                folder: OnceLock::new(),
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

    fn start_in_turn(
        &self,
        spec: Spec,
        turn: StartTurn,
    ) -> BoxFuture<'_, Result<Running, StartError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let program = spec.program.clone();
            let job = |cancel| start::start(inner, spec, turn, cancel);
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

    fn kill(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move { remove::kill(&self.inner, &program).await })
    }

    fn observe(&self, program: &ProgramId) -> BoxFuture<'_, Result<Observed, Unavailable>> {
        let program = program.clone();
        Box::pin(async move { self.inner.observe(&program).await })
    }

    fn on_death(&self, tell: OnDeath) {
        // A further one would be told nothing.
        let _ = self.inner.on_death.set(tell);
    }

    fn observe_container<'a>(
        &'a self,
        program: &'a ProgramId,
        container: &'a ContainerId,
    ) -> BoxFuture<'a, Result<Observed, Unavailable>> {
        Box::pin(self.inner.observe_container(program, container))
    }

    fn events(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let listener = sender.clone();
        tokio::spawn(async move { firewall::keep(listener.closed()).await });
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

    fn listeners(&self, program: &ProgramId) -> BoxFuture<'_, Vec<SocketAddr>> {
        let program = program.clone();
        Box::pin(async move { self.inner.listeners(&program).await })
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
            self.inner.captures.give_up(&program).await;
            self.inner.logs.forget(&program);
            self.inner.remove_images(&program, None).await
        })
    }

    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> InUse + Send + Sync),
        kept: Kept,
    ) -> BoxFuture<'a, Result<Collected, Unavailable>> {
        Box::pin(self.inner.collect(in_use, kept))
    }

    fn stats(&self, container: &ContainerId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>> {
        let container = container.clone();
        Box::pin(async move { self.inner.stats(&container).await })
    }

    fn pause(&self, container: &ContainerId) -> BoxFuture<'_, Result<(), StopError>> {
        let container = container.clone();
        Box::pin(async move { self.inner.pause(&container).await })
    }

    fn unpause(&self, container: &ContainerId) -> BoxFuture<'_, Result<(), StopError>> {
        let container = container.clone();
        Box::pin(async move { self.inner.unpause(&container).await })
    }

    fn folder(&self) -> Option<PathBuf> {
        self.inner.folder.get().cloned()
    }
}

impl Inner {
    fn started(&self) -> MutexGuard<'_, HashMap<ContainerId, ProgramId>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name that all images of a program share on this host.
fn repository(host_id: &str, program: &ProgramId) -> String {
    format!("hersh/{host_id}/{program}")
}

/// The name under which the image of a source tree is found again.
fn image_tag(host_id: &str, program: &ProgramId, build: &BuildId) -> String {
    format!("{}:{build}", repository(host_id, program))
}

/// A program's own container. Labels alone don't make one: a step of a build carries those that
/// its Dockerfile sets, so the name, which nobody but the host gives, has to fit.
fn listed(container: &ContainerSummary) -> Option<Listed> {
    let program = program_of(container)?;
    let name = format!("/{}", container_name(&program));
    if !container.names.iter().flatten().any(|given| *given == name) {
        return None;
    }
    Some(Listed {
        program,
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
