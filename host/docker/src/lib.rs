//! [`Runtime`] and [`Builder`] on the Docker engine, 20.10 and newer, through its API.
//!
//! Everything on the engine that belongs to a host carries the host's label, and everything that belongs to
//! a program carries the program's label as well. So all of it is found again after a crash of the host or
//! the engine: this crate keeps no state that the engine could not tell.

mod bounds;
mod build;
mod compose;
mod config;
mod confinement;
mod counters;
mod create;
pub mod dockerfile;
mod doctor;
mod ends;
mod engine;
mod events;
mod files;
mod first_process;
mod inspect;
mod kernel_log;
mod kernel_probe;
mod keyed_tasks;
mod machine;
mod names;
mod network;
mod notices;
mod output;
mod pause;
mod probe;
mod processes;
mod query;
mod remove;
mod runsc;
#[cfg(test)]
mod scripted_engine;
mod start;
mod start_messages;
mod stats;
mod unclaimed;
mod work;

pub use config::{DockerConfig, MEMBERS_MAX};
pub use doctor::diagnose;
pub use unclaimed::UnclaimedContainer;
pub use unclaimed::{remove as remove_unclaimed, unclaimed_containers};

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use futures_util::future::BoxFuture;
use hersh_base::{endpoint::Endpoint, locked::locked, sandbox::StateUsage};
use hersh_program::{
    BuildId, ContainerId, ImageId, InstanceId, InstanceStatus, Instances, ProgramId,
};
use hersh_storage::{Storage, output::LogStore};
use tokio::sync::mpsc;

use self::{
    build::{fetched_images::FetchedImages, mount_points},
    doctor::trial,
    engine::Engine,
    names::instance_of,
    network::{addresses::Addresses, firewall, flows::Flows},
    output::Captures,
    work::{OperationQueue, OperationTarget},
};
use hersh_sandbox::{
    BuildError, BuildRequest, Builder, CollectionCounts, DeathListener, EVENT_QUEUE, InstanceEnd,
    Kernel, ListedInstance, Permit, Retention, RunningInstance, Runtime, RuntimeInfo, Spec,
    StartError, Stats, StopError, Unavailable, UsedImages,
};

/// The Docker engine as a runtime. A clone is cheap.
#[derive(Clone)]
pub struct DockerRuntime {
    inner: Arc<Inner>,
}

/// The state that the operations share.
struct Inner {
    config: DockerConfig,
    engine: Engine,
    storage: Storage,
    logs: LogStore,
    probe: PathBuf,
    work: OperationQueue,
    captures: Captures,
    flows: Flows,
    /// The lock between builds and collecting. A build holds it for reading while it runs, and the
    /// collector of what builds left holds it for writing: otherwise it could remove layers that a build
    /// still uses.
    building: tokio::sync::RwLock<()>,
    /// Containers that this process started and whose end is not known yet.
    started: Mutex<HashMap<ContainerId, InstanceId>>,
    fetched: Arc<FetchedImages>,
    proved: trial::TrialRecord,
    runscs: runsc::RunscCache,
    clean_images: mount_points::CleanImages,
    addresses: Addresses,
    /// The function that is told of dead containers.
    on_death: OnceLock<DeathListener>,
    /// The folder where the engine keeps images, once the engine was asked for it.
    folder: OnceLock<PathBuf>,
}

impl DockerRuntime {
    /// Makes a runtime on the engine at `config.socket`, which is not contacted yet. The output of its
    /// instances goes to `output`. Blocks for a short time, because it writes the kernel probe into the
    /// data folder.
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
                work: OperationQueue::default(),
                captures: Captures::default(),
                flows: Flows::default(),
                building: tokio::sync::RwLock::default(),
                started: Mutex::default(),
                fetched: Arc::new(FetchedImages::open(storage.clone())),
                proved: trial::TrialRecord::default(),
                runscs: runsc::RunscCache::default(),
                clean_images: mount_points::CleanImages::default(),
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
    fn kernel(&self) -> Kernel {
        self.inner.config.kernel
    }

    fn check(&self) -> BoxFuture<'_, Result<RuntimeInfo, Unavailable>> {
        Box::pin(self.inner.check())
    }

    fn keep(&self) -> BoxFuture<'static, ()> {
        Box::pin(firewall::keep())
    }

    fn start_with_permit(
        &self,
        spec: Spec,
        permit: Permit,
    ) -> BoxFuture<'_, Result<RunningInstance, StartError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let InstanceId { program, number } = spec.instance.clone();
            let job = |cancel| start::start(inner, spec, permit, cancel);
            let target = OperationTarget::Instance(number);
            self.inner.work.run(&program, target, job).await
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

    fn kill(
        &self,
        program: &ProgramId,
        instances: Instances,
    ) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        Box::pin(async move { remove::kill(&self.inner, &program, instances).await })
    }

    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<InstanceStatus, Unavailable>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.observe(&instance).await })
    }

    fn on_death(&self, tell: DeathListener) {
        // Only the first function is set. Any further one is never called.
        let _ = self.inner.on_death.set(tell);
    }

    fn events(&self) -> mpsc::Receiver<InstanceEnd> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        tokio::spawn(events::run(Arc::clone(&self.inner), sender));
        receiver
    }

    fn endpoint(
        &self,
        instance: &InstanceId,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, Unavailable>> {
        let instance = instance.clone();
        Box::pin(async move { self.inner.endpoint(&instance).await })
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

    fn state_bytes(
        &self,
        program: &ProgramId,
        enough: u64,
        permit: Permit,
    ) -> BoxFuture<'_, Result<StateUsage, Unavailable>> {
        let (storage, program) = (self.inner.storage.clone(), program.clone());
        let measure = move || {
            let usage = storage.state_usage(&program, enough);
            // The thread goes on when the caller is gone, so it holds the permit until it is done.
            drop(permit);
            usage
        };
        Box::pin(async move {
            let failed = |message: String| Unavailable { message };
            match tokio::task::spawn_blocking(measure).await {
                Ok(measured) => measured.map_err(|error| failed(error.without_path())),
                Err(error) => Err(failed(error.to_string())),
            }
        })
    }

    fn explain(&self, spec: &Spec) -> String {
        compose::to_compose_yaml(spec, self.inner.config.runtime())
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.inner.folder.get().cloned().into_iter().collect()
    }
}

impl Builder for DockerRuntime {
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let program = request.program.clone();
            let job = |cancel| build::build(inner, request, cancel);
            self.inner
                .work
                .run(&program, OperationTarget::Build, job)
                .await
        })
    }

    fn find(
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
            self.inner.remove_images(&program).await
        })
    }

    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> UsedImages + Send + Sync),
        kept: Retention,
    ) -> BoxFuture<'a, Result<CollectionCounts, Unavailable>> {
        Box::pin(self.inner.collect(in_use, kept))
    }
}

impl Inner {
    fn started(&self) -> MutexGuard<'_, HashMap<ContainerId, InstanceId>> {
        locked(&self.started)
    }
}

/// Reads an instance from its container in the engine's list; `None` for any other container.
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
