//! [`Runtime`] on the Docker Engine, 20.10 and newer, through its API.
//!
//! What belongs to a host carries its label, what belongs to a program the program's as well, so
//! everything is found again after a crash of either side: nothing here is kept that the engine
//! could not tell.

mod build;
mod config;
mod counters;
mod create;
pub mod dockerfile;
mod doctor;
mod ends;
mod engine;
mod errands;
mod events;
mod files;
mod first_process;
mod inspect;
mod kernel_log;
mod look;
mod machine;
mod network;
mod not_started;
mod notices;
mod output;
mod pause;
#[cfg(test)]
mod played;
mod probe;
mod processes;
mod query;
mod remove;
mod runsc;
mod start;
mod stats;
mod strays;
mod work;

pub use config::{DockerConfig, MEMBERS_MAX};
pub use doctor::diagnose;
pub use strays::Stray;
pub use strays::{remove as remove_stray, strays};

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use futures_util::future::BoxFuture;
use hersh_base::locked::locked;
use hersh_program::{
    BuildId, ContainerId, ImageId, InstanceId, InstanceNumber, Instances, Logs, Observed, ProgramId,
};
use hersh_storage::{
    Storage,
    output::{CAUSE_LINES, LogStore, for_cause},
};
use tokio::sync::mpsc;

use self::{
    build::{fetched::FetchedImages, places},
    doctor::trial,
    engine::Engine,
    network::{addresses::Addresses, firewall, flows::Flows},
    output::Captures,
    work::{About, Work},
};
use hersh_sandbox::{
    BuildError, BuildRequest, CollectedImages, EVENT_QUEUE, EngineInfo, Environment, HOST_LABEL,
    INSTANCE_LABEL, InUse, ListedInstance, OnDeath, PROGRAM_LABEL, Retention, Running, Runtime,
    RuntimeEvent, Spec, StartError, StartTurn, Stats, StopError, Unavailable, container_name,
};

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
    started: Mutex<HashMap<ContainerId, InstanceId>>,
    fetched: Arc<FetchedImages>,
    proved: trial::TrialRecord,
    runscs: runsc::Known,
    sound: places::Sound,
    addresses: Addresses,
    /// Told of containers that are dead.
    on_death: OnceLock<OnDeath>,
    /// Where the engine keeps images, once it was asked for.
    folder: OnceLock<PathBuf>,
}

impl DockerRuntime {
    /// A runtime on the engine at `config.socket`, which is not contacted yet. What its instances print
    /// goes to `output`. Blocks shortly: it
    /// writes the kernel probe into the data folder.
    ///
    /// # Errors
    /// [`Unavailable`] when the probe can't be written or does not exist for this processor.
    pub fn new(
        config: DockerConfig,
        storage: Storage,
        output: LogStore,
    ) -> Result<Self, Unavailable> {
        let probe = storage.data_dir().join("probe");
        probe::install(&probe).map_err(|error| Unavailable {
            message: format!("the kernel probe {}: {error}", probe.display()),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine: Engine::new(config.socket.clone()),
                logs: output,
                work: Work::default(),
                captures: Captures::default(),
                flows: Flows::default(),
                building: tokio::sync::RwLock::default(),
                started: Mutex::default(),
                fetched: Arc::new(FetchedImages::open(storage.clone())),
                proved: trial::TrialRecord::default(),
                runscs: runsc::Known::default(),
                sound: places::Sound::default(),
                addresses: Addresses::default(),
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
            self.inner.work.run(&program, About::Build, job).await
        })
    }

    fn start_in_turn(
        &self,
        spec: Spec,
        turn: StartTurn,
    ) -> BoxFuture<'_, Result<Running, StartError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let InstanceId { program, number } = spec.instance.clone();
            let job = |cancel| start::start(inner, spec, turn, cancel);
            let about = About::Instance(number);
            self.inner.work.run(&program, about, job).await
        })
    }

    fn stop(
        &self,
        program: &ProgramId,
        instances: Instances,
        grace: Duration,
    ) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move {
            let job = remove::stop(Arc::clone(&self.inner), program.clone(), instances, grace);
            self.inner.work.run_instead(&program, instances, job).await
        })
    }

    fn kill(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move { remove::kill(&self.inner, &program).await })
    }

    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Observed, Unavailable>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.observe(&instance).await })
    }

    fn on_death(&self, tell: OnDeath) {
        // A further one would be told nothing.
        let _ = self.inner.on_death.set(tell);
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

    fn address(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<IpAddr>, Unavailable>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.address(&instance).await })
    }

    fn listeners(&self, instance: &InstanceId) -> BoxFuture<'_, Vec<SocketAddr>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.listeners(&instance).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ListedInstance>, Unavailable>> {
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
        kept: Retention,
    ) -> BoxFuture<'a, Result<CollectedImages, Unavailable>> {
        Box::pin(self.inner.collect(in_use, kept))
    }

    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.stats(&instance).await })
    }

    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.pause(&instance).await })
    }

    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.unpause(&instance).await })
    }

    fn folder(&self) -> Option<PathBuf> {
        self.inner.folder.get().cloned()
    }
}

impl Inner {
    fn started(&self) -> MutexGuard<'_, HashMap<ContainerId, InstanceId>> {
        locked(&self.started)
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

/// Reads the container of an instance from the engine's list; `None` for any other.
fn listed(container: &ContainerSummary) -> Option<ListedInstance> {
    let names = container.names.iter().flatten();
    let names = names.filter_map(|name| name.strip_prefix('/'));
    let instance = instance_of(container.labels.as_ref()?, names)?;
    Some(ListedInstance {
        instance,
        container: ContainerId::parse(container.id.as_deref()?).ok()?,
        running: is_running(container),
    })
}

/// Reads which instance a container is from its labels and names. Labels alone don't tell: a step of a
/// build carries those that its Dockerfile sets, so the name, which nobody but the host gives, has to
/// fit.
fn instance_of<'a>(
    labels: &HashMap<String, String>,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<InstanceId> {
    let number = labels.get(INSTANCE_LABEL);
    let instance = InstanceId {
        program: ProgramId::parse(labels.get(PROGRAM_LABEL)?).ok()?,
        number: number.map_or(Some(InstanceNumber::UNNUMBERED), |text| {
            text.parse().ok().map(InstanceNumber)
        })?,
    };
    let name = container_name(labels.get(HOST_LABEL)?, &instance);
    names.any(|given| given == name).then_some(instance)
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
