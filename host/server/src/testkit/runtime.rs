//! A [`Runtime`] over a [`FakeEngine`], in this process or behind a socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hersh_base::{endpoint::Endpoint, locked::locked, sandbox::StateUsage};
use hersh_program::{ContainerId, InstanceId, InstanceStatus, Instances, NetworkMode, ProgramId};
use hersh_storage::Storage;
use tokio::sync::mpsc;

use super::{FakeEngine, Operation, engine_link::EngineLink, remote::Remote};
use hersh_sandbox::{
    DeathListener, EVENT_QUEUE, Fact, InstanceEnd, Kernel, ListedInstance, Permit, Receipt,
    RunningInstance, Runtime, RuntimeInfo, Spec, StartError, Stats, StopError, Unavailable,
    validate, verify_running,
};

/// Where every fake program is reached unless somebody says otherwise.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The runtime of one host over a fake engine.
pub struct FakeRuntime {
    pub(super) link: EngineLink,
    storage: Storage,
    address: Mutex<Option<IpAddr>>,
    paused: Mutex<Paused>,
    /// Who is told of deaths.
    on_death: Arc<OnceLock<DeathListener>>,
}

/// What was asked to be held still.
#[derive(Debug, Default)]
struct Paused {
    /// How often one was.
    count: u64,
    /// Those that were to go on, oldest first.
    unpaused: Vec<InstanceId>,
    /// How often unpausing one will fail.
    refusals: u32,
}

impl FakeRuntime {
    /// Over an engine in this process.
    pub fn new(engine: Arc<FakeEngine>, storage: Storage) -> Self {
        Self::over(EngineLink::Here(engine), storage)
    }

    /// Over the engine that another process serves at `socket`.
    pub fn remote(socket: PathBuf, storage: Storage) -> Self {
        Self::over(EngineLink::There(Remote::new(socket)), storage)
    }

    fn over(link: EngineLink, storage: Storage) -> Self {
        Self {
            link,
            storage,
            address: Mutex::new(Some(ADDRESS)),
            paused: Mutex::default(),
            on_death: Arc::default(),
        }
    }

    /// The instances that are paused. Nobody plays those of another process, so none of them is.
    pub fn paused_now(&self) -> BTreeSet<InstanceId> {
        self.link.here().map(FakeEngine::paused).unwrap_or_default()
    }

    /// How often an instance was paused.
    pub fn pauses(&self) -> u64 {
        self.paused().count
    }

    /// The instances that were to go on, oldest first.
    pub fn unpaused(&self) -> Vec<InstanceId> {
        self.paused().unpaused.clone()
    }

    /// From now on unpausing an instance fails so often.
    pub fn refuse_unpausing(&self, times: u32) {
        self.paused().refusals = times;
    }

    fn paused(&self) -> MutexGuard<'_, Paused> {
        locked(&self.paused)
    }

    /// From now on programs with a network are reached there; without an address, by their sockets.
    pub fn reach_at(&self, address: Option<IpAddr>) {
        *locked(&self.address) = address;
    }

    fn way_to(&self, program: &ProgramId, network: NetworkMode) -> Endpoint {
        let address = match network {
            NetworkMode::None => None,
            NetworkMode::Internal | NetworkMode::Egress => *locked(&self.address),
        };
        address.map_or_else(|| self.storage.state_socket(program), Endpoint::at)
    }

    /// The network of an instance, as far as the engine tells it.
    fn network(&self, instance: &InstanceId) -> NetworkMode {
        let network = self.link.here().and_then(|engine| engine.network(instance));
        network.unwrap_or_default()
    }

    async fn run(&self, spec: Spec) -> Result<RunningInstance, StartError> {
        validate(&spec)?;
        let seen = |property| Fact::Observed {
            property,
            how: "in memory".to_owned(),
        };
        let facts: Vec<Fact> = spec.properties().into_iter().map(seen).collect();
        let contracts = verify_running(&spec, &facts)?;
        self.storage
            .remove_state_socket(&spec.instance.program)
            .map_err(|error| StartError::Failed {
                message: error.to_string(),
                logs: Vec::new(),
            })?;
        let container = self.link.start_container(&spec).await?;
        let endpoint = self.way_to(&spec.instance.program, spec.network);
        let receipt = Receipt {
            program: spec.instance.program,
            instance: spec.instance.number,
            container: container.clone(),
            image: spec.image,
            asked_kernel: Kernel::Gvisor,
            kernel: "gVisor".into(),
            contracts,
            state: None,
            made_at_ms: 1,
        };
        Ok(RunningInstance {
            container,
            endpoint,
            receipt,
        })
    }
}

impl Runtime for FakeRuntime {
    fn kernel(&self) -> Kernel {
        Kernel::Gvisor
    }

    fn check(&self) -> BoxFuture<'_, Result<RuntimeInfo, Unavailable>> {
        let info = |_| RuntimeInfo {
            name: "engine in memory",
            version: "1".into(),
            facts: BTreeMap::new(),
            kernel: Kernel::Gvisor,
        };
        async move { Ok(self.link.ask(Operation::Check).await.map(info)?) }.boxed()
    }

    fn start_with_permit(
        &self,
        spec: Spec,
        permit: Permit,
    ) -> BoxFuture<'_, Result<RunningInstance, StartError>> {
        async move {
            let started = self.run(spec).await;
            drop(permit);
            started
        }
        .boxed()
    }

    fn stop(
        &self,
        program: &ProgramId,
        instances: Instances,
        grace: Duration,
    ) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        async move {
            if let Some(engine) = self.link.here() {
                engine.ask_to_stop(&program, instances, grace).await;
            }
            let operation = Operation::Stop(program, instances);
            Ok(self.link.ask(operation).await.map(drop)?)
        }
        .boxed()
    }

    fn kill(
        &self,
        program: &ProgramId,
        instances: Instances,
    ) -> BoxFuture<'_, Result<(), StopError>> {
        let program = program.clone();
        async move {
            if let Some(engine) = self.link.here() {
                engine.kill(&program, instances).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<InstanceStatus, Unavailable>> {
        let instance = instance.clone();
        async move { Ok(self.link.look(&instance).await?) }.boxed()
    }

    fn on_death(&self, tell: DeathListener) {
        // Only the first function is set. Any further one is never called.
        let _ = self.on_death.set(tell);
    }

    fn events(&self) -> mpsc::Receiver<InstanceEnd> {
        let mut ends = self.link.observe();
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let on_death = Arc::clone(&self.on_death);
        tokio::spawn(async move {
            while let Some(ended) = ends.recv().await {
                if let Some(tell) = on_death.get() {
                    tell(&ended.instance, &ended.container);
                }
                let event = InstanceEnd {
                    instance: ended.instance,
                    container: ended.container,
                    exit: ended.exit,
                };
                if sender.send(event).await.is_err() {
                    break;
                }
            }
        });
        receiver
    }

    fn endpoint(
        &self,
        instance: &InstanceId,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, Unavailable>> {
        let instance = instance.clone();
        async move {
            Ok(match self.link.look(&instance).await? {
                InstanceStatus::Running(_) => {
                    let network = self.network(&instance);
                    Some(self.way_to(&instance.program, network))
                }
                InstanceStatus::Exited(..) | InstanceStatus::Absent => None,
            })
        }
        .boxed()
    }

    fn has_sockets(&self) -> bool {
        self.link.here().is_none_or(FakeEngine::has_sockets)
    }

    fn liveness_answer(&self, container: &ContainerId) -> Option<BoxFuture<'_, ()>> {
        self.link.here()?.liveness_answer(container)
    }

    fn state_bytes(
        &self,
        program: &ProgramId,
        enough: u64,
        permit: Permit,
    ) -> BoxFuture<'_, Result<StateUsage, Unavailable>> {
        // In place: a simulated host has one thread, and folders in tests are small.
        let measured = self.storage.state_usage(program, enough);
        drop(permit);
        let measured = measured.map_err(|error| Unavailable {
            message: error.without_path(),
        });
        std::future::ready(measured).boxed()
    }

    fn explain(&self, spec: &Spec) -> String {
        let variables: Vec<&String> = spec.env.keys().collect();
        let instance = spec.instance.to_string();
        // The route says that it answers YAML, of which JSON is a part.
        serde_json::json!({ "instance": instance, "variables": variables }).to_string()
    }

    fn folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ListedInstance>, Unavailable>> {
        async move { Ok(self.link.find_all().await?) }.boxed()
    }

    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>> {
        let asked = instance.clone();
        async move {
            let all = self.link.find_all().await?;
            let runs = all.iter().any(|it| it.instance == asked && it.running);
            Ok(match self.link.here() {
                Some(engine) => engine.stats(&asked),
                None => runs.then(Stats::default),
            })
        }
        .boxed()
    }

    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        self.paused().count += 1;
        let engine = self.link.here();
        let runs = engine.is_none_or(|engine| engine.set_paused(instance, true));
        let message = format!("instance {instance} does not run");
        let paused = runs.then_some(()).ok_or(StopError::Failed { message });
        std::future::ready(paused).boxed()
    }

    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        let mut paused = self.paused();
        if paused.refusals > 0 {
            paused.refusals -= 1;
            let message = "not now".to_owned();
            return std::future::ready(Err(StopError::Failed { message })).boxed();
        }
        if let Some(engine) = self.link.here() {
            // One that is gone needs no unpausing.
            engine.set_paused(instance, false);
        }
        paused.unpaused.push(instance.clone());
        std::future::ready(Ok(())).boxed()
    }
}
