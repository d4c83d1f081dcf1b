//! A [`Runtime`] and [`Builder`] over a [`FakeEngine`], in this process or behind a socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hersh_base::{endpoint::Endpoint, locked::locked, sandbox::StateUsage};
use hersh_program::{
    BuildId, ContainerId, ExitReason, ImageId, InstanceId, Instances, Observed, ProgramId,
};
use hersh_storage::Storage;
use tokio::sync::mpsc;

use super::{Answer, FakeEngine, Operation, Reply, Trouble, remote::Remote};
use hersh_sandbox::{
    BuildError, BuildRequest, Builder, Collected, EVENT_QUEUE, Fact, InUse, Kernel, ListedInstance,
    Permit, Receipt, Retention, Running, Runtime, RuntimeEvent, RuntimeInfo, Spec, StartError,
    Stats, StopError, Unavailable, prove, validate,
};

/// Where every fake program is reached unless somebody says otherwise.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The runtime of one host over a fake engine.
pub struct FakeRuntime {
    link: Link,
    storage: Storage,
    address: Mutex<Option<IpAddr>>,
    paused: Mutex<Paused>,
}

/// What was asked to be held still.
#[derive(Debug, Default)]
struct Paused {
    /// Those that are right now.
    instances: BTreeSet<InstanceId>,
    /// How often one was.
    count: u64,
    /// Those that were to go on, oldest first.
    woken: Vec<InstanceId>,
    /// How often waking one will fail.
    refusals: u32,
}

enum Link {
    Here(Arc<FakeEngine>),
    There(Remote),
}

impl FakeRuntime {
    /// Over an engine in this process.
    pub fn new(engine: Arc<FakeEngine>, storage: Storage) -> Self {
        Self::over(Link::Here(engine), storage)
    }

    /// Over the engine that another process serves at `socket`.
    pub fn remote(socket: PathBuf, storage: Storage) -> Self {
        Self::over(Link::There(Remote::new(socket)), storage)
    }

    fn over(link: Link, storage: Storage) -> Self {
        Self {
            link,
            storage,
            address: Mutex::new(Some(ADDRESS)),
            paused: Mutex::default(),
        }
    }

    /// The instances that are paused.
    pub fn paused_now(&self) -> BTreeSet<InstanceId> {
        self.paused().instances.clone()
    }

    /// How often an instance was paused.
    pub fn pauses(&self) -> u64 {
        self.paused().count
    }

    /// The instances that were to go on, oldest first.
    pub fn woken(&self) -> Vec<InstanceId> {
        self.paused().woken.clone()
    }

    /// From now on waking an instance fails so often.
    pub fn refuse_waking(&self, times: u32) {
        self.paused().refusals = times;
    }

    fn paused(&self) -> MutexGuard<'_, Paused> {
        locked(&self.paused)
    }

    /// From now on programs are reached there; without an address, by their sockets.
    pub fn reach_at(&self, address: Option<IpAddr>) {
        *locked(&self.address) = address;
    }

    fn way_to(&self, program: &ProgramId) -> Endpoint {
        let address = *locked(&self.address);
        address.map_or_else(|| self.storage.state_socket(program), Endpoint::at)
    }

    async fn ask(&self, operation: Operation) -> Reply {
        match &self.link {
            Link::Here(engine) => engine.carry_out(operation).await,
            Link::There(remote) => remote.carry_out(operation).await,
        }
    }

    async fn find_image(&self, operation: Operation) -> Result<Option<ImageId>, Trouble> {
        match self.ask(operation).await? {
            Answer::Image(image) => Ok(image),
            Answer::Done | Answer::Started(_) | Answer::Observed(_) | Answer::ListedInstance(_) => {
                Err(strange())
            }
        }
    }

    async fn look(&self, instance: &InstanceId) -> Result<Observed, Trouble> {
        match self.ask(Operation::Observe(instance.clone())).await? {
            Answer::Observed(observed) => Ok(observed),
            Answer::Done | Answer::Image(_) | Answer::Started(_) | Answer::ListedInstance(_) => {
                Err(strange())
            }
        }
    }

    async fn find_all(&self) -> Result<Vec<ListedInstance>, Trouble> {
        let listed = |(instance, container, running)| ListedInstance {
            instance,
            container,
            running,
        };
        match self.ask(Operation::List).await? {
            Answer::ListedInstance(all) => Ok(all.into_iter().map(listed).collect()),
            Answer::Done | Answer::Image(_) | Answer::Started(_) | Answer::Observed(_) => {
                Err(strange())
            }
        }
    }

    async fn start_container(&self, spec: &Spec) -> Result<ContainerId, Trouble> {
        let (instance, image) = (spec.instance.clone(), spec.image.clone());
        let memory_bytes = spec.bounds.memory_bytes;
        match self
            .ask(Operation::Start(instance, image, memory_bytes))
            .await?
        {
            Answer::Started(container) => Ok(container),
            Answer::Done | Answer::Image(_) | Answer::Observed(_) | Answer::ListedInstance(_) => {
                Err(strange())
            }
        }
    }

    async fn run(&self, spec: Spec) -> Result<Running, StartError> {
        validate(&spec)?;
        let seen = |property| Fact::Observed {
            property,
            how: "in memory".to_owned(),
        };
        let facts: Vec<Fact> = spec.properties().into_iter().map(seen).collect();
        let contracts = prove(&spec, &facts)?;
        self.storage
            .remove_state_socket(&spec.instance.program)
            .map_err(|error| StartError::Failed {
                message: error.to_string(),
                logs: Vec::new(),
            })?;
        let container = self.start_container(&spec).await?;
        let endpoint = self.way_to(&spec.instance.program);
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
        Ok(Running {
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
        async move { Ok(self.ask(Operation::Check).await.map(info)?) }.boxed()
    }

    fn start_with_permit(
        &self,
        spec: Spec,
        permit: Permit,
    ) -> BoxFuture<'_, Result<Running, StartError>> {
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
        _: Duration,
    ) -> BoxFuture<'_, Result<(), StopError>> {
        let operation = Operation::Stop(program.clone(), instances);
        async move { Ok(self.ask(operation).await.map(drop)?) }.boxed()
    }

    fn kill(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        match &self.link {
            // Whoever stops it finds it ended.
            Link::Here(engine) => {
                while engine.end_unseen(program, ExitReason::Code(137)).is_some() {}
            }
            Link::There(_) => {}
        }
        std::future::ready(Ok(())).boxed()
    }

    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Observed, Unavailable>> {
        let instance = instance.clone();
        async move { Ok(self.look(&instance).await?) }.boxed()
    }

    fn events(&self) -> mpsc::Receiver<RuntimeEvent> {
        let mut exits = match &self.link {
            Link::Here(engine) => engine.observe(),
            Link::There(remote) => remote.observe(),
        };
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        tokio::spawn(async move {
            while let Some(ended) = exits.recv().await {
                let event = RuntimeEvent {
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
            Ok(match self.look(&instance).await? {
                Observed::Running(_) => Some(self.way_to(&instance.program)),
                Observed::Exited(..) | Observed::Absent => None,
            })
        }
        .boxed()
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
        async move { Ok(self.find_all().await?) }.boxed()
    }

    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>> {
        let asked = instance.clone();
        async move {
            let all = self.find_all().await?;
            let runs = all.iter().any(|it| it.instance == asked && it.running);
            Ok(runs.then(Stats::default))
        }
        .boxed()
    }

    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        let mut paused = self.paused();
        paused.instances.insert(instance.clone());
        paused.count += 1;
        std::future::ready(Ok(())).boxed()
    }

    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>> {
        let mut paused = self.paused();
        if paused.refusals > 0 {
            paused.refusals -= 1;
            let message = "not now".to_owned();
            return std::future::ready(Err(StopError::Failed { message })).boxed();
        }
        paused.instances.remove(instance);
        paused.woken.push(instance.clone());
        std::future::ready(Ok(())).boxed()
    }
}

impl Builder for FakeRuntime {
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>> {
        let operation = Operation::Build(request.program, request.build);
        async move {
            tokio::select! {
                biased;
                () = request.cancel.cancelled() => Err(BuildError::Cancelled),
                built = self.find_image(operation) => {
                    built?.ok_or_else(|| strange().into())
                }
            }
        }
        .boxed()
    }

    fn find(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>> {
        let operation = Operation::Image(program.clone(), build.clone());
        async move { Ok(self.find_image(operation).await?) }.boxed()
    }

    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let operation = Operation::Forget(program.clone());
        async move { Ok(self.ask(operation).await.map(drop)?) }.boxed()
    }

    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> InUse + Send + Sync),
        _kept: Retention,
    ) -> BoxFuture<'a, Result<Collected, Unavailable>> {
        let images = match &self.link {
            Link::Here(engine) => engine.collect(&in_use()),
            // What another process keeps is that process's own.
            Link::There(_) => 0,
        };
        let mut collected = Collected::default();
        collected.add("images", images);
        std::future::ready(Ok(collected)).boxed()
    }
}

fn strange() -> Trouble {
    Trouble::Unavailable("the fake engine's answer is none to this request".into())
}
