//! A runtime in memory, for tests of what stands above it: containers are entries in a map.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hersh_program::{BuildId, ContainerId, Exit, ExitReason, ImageId, Logs, Observed, ProgramId};
use tokio::sync::mpsc;

use super::{
    BuildError, BuildRequest, EVENT_QUEUE, EngineInfo, Listed, LogStore, Running, Runtime,
    RuntimeEvent, StartError, StopError, Unavailable,
};
use crate::{
    compose::{Environment, Receipt, RuntimeMode, Spec},
    storage::Storage,
};

/// An engine in memory.
pub(crate) struct FakeRuntime {
    world: Mutex<World>,
    storage: Storage,
    logs: LogStore,
}

#[derive(Default)]
struct World {
    down: bool,
    made: u64,
    images: BTreeMap<(ProgramId, BuildId), ImageId>,
    containers: BTreeMap<ProgramId, Container>,
    exits: Option<mpsc::Sender<RuntimeEvent>>,
}

struct Container {
    id: ContainerId,
    ended: Option<Exit>,
}

impl FakeRuntime {
    /// An engine without containers.
    pub(crate) fn new(storage: Storage) -> Self {
        Self {
            world: Mutex::default(),
            logs: LogStore::new(storage.clone()),
            storage,
        }
    }

    /// From now on the engine answers nothing, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.world().down = down;
    }

    /// The programs that run.
    pub(crate) fn running(&self) -> Vec<ProgramId> {
        let world = self.world();
        let runs = |(_, container): &(&ProgramId, &Container)| container.ended.is_none();
        world
            .containers
            .iter()
            .filter(runs)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Tells nobody of exits until somebody listens anew.
    pub(crate) fn forget_events(&self) {
        self.world().exits = None;
    }

    /// Puts a container there that no host asked for.
    pub(crate) fn plant(&self, program: &ProgramId) {
        self.world().create(program);
    }

    /// Ends a program's container with `code`.
    pub(crate) async fn end(&self, program: &ProgramId, code: i32) {
        let (exits, event) = {
            let mut world = self.world();
            let exit = Exit {
                reason: ExitReason::Code(code),
                logs: vec!["last words".into()],
            };
            let container = world.containers.get_mut(program).expect("it runs");
            container.ended = Some(exit.clone());
            let event = RuntimeEvent {
                program: program.clone(),
                container: container.id.clone(),
                exit,
            };
            (world.exits.clone(), event)
        };
        if let Some(exits) = exits {
            exits.send(event).await.expect("the host listens");
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .expect("no test panics with the world in its hand")
    }

    fn up(&self) -> Result<MutexGuard<'_, World>, Unavailable> {
        let world = self.world();
        if world.down {
            return Err(Unavailable {
                message: "the engine is down".into(),
            });
        }
        Ok(world)
    }
}

impl World {
    fn create(&mut self, program: &ProgramId) -> ContainerId {
        self.made += 1;
        let id = ContainerId::parse(&format!("{:012x}", self.made)).expect("hex digits");
        self.containers.insert(
            program.clone(),
            Container {
                id: id.clone(),
                ended: None,
            },
        );
        id
    }
}

fn now<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    std::future::ready(value).boxed()
}

impl Runtime for FakeRuntime {
    fn environment(&self, program: &ProgramId) -> Environment {
        Environment {
            host_id: "fake".into(),
            mode: RuntimeMode::Runsc,
            state_dir: self.storage.paths(program).state,
            probe: self.storage.data_dir().join("probe"),
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<EngineInfo, Unavailable>> {
        now(self.up().map(|_| EngineInfo {
            version: "fake".into(),
            api_version: "1.41".into(),
            runtimes: vec!["runsc".into()],
            mode: RuntimeMode::Runsc,
        }))
    }

    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>> {
        let built = self.up().map(|mut world| {
            let made = world.made;
            let fresh = || ImageId::parse(&format!("sha256:{made:064x}")).expect("hex digits");
            world
                .images
                .entry((request.program, request.build))
                .or_insert_with(fresh)
                .clone()
        });
        now(built.map_err(BuildError::from))
    }

    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Running, StartError>> {
        let started = self.up().map(|mut world| {
            let container = world.create(&spec.program);
            let receipt = Receipt {
                program: spec.program,
                container: container.clone(),
                image: spec.image,
                mode: RuntimeMode::Runsc,
                kernel: "gVisor".into(),
                contracts: Vec::new(),
                made_at_ms: 1,
            };
            Running {
                container,
                address: Some(IpAddr::from([127, 0, 0, 1])),
                receipt,
            }
        });
        now(started.map_err(StartError::from))
    }

    fn stop(&self, program: &ProgramId, _: Duration) -> BoxFuture<'_, Result<(), StopError>> {
        let stopped = self
            .up()
            .map(|mut world| drop(world.containers.remove(program)));
        now(stopped.map_err(StopError::from))
    }

    fn observe(&self, program: &ProgramId) -> BoxFuture<'_, Result<Observed, Unavailable>> {
        now(self.up().map(|world| match world.containers.get(program) {
            None => Observed::Absent,
            Some(Container { id, ended: None }) => Observed::Running(id.clone()),
            Some(Container {
                id,
                ended: Some(exit),
            }) => Observed::Exited(id.clone(), exit.clone()),
        }))
    }

    fn events(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        self.world().exits = Some(sender);
        receiver
    }

    fn logs(&self, _: &ProgramId, _: usize) -> BoxFuture<'_, Logs> {
        now(Vec::new())
    }

    fn log_store(&self) -> &LogStore {
        &self.logs
    }

    fn address(&self, program: &ProgramId) -> BoxFuture<'_, Result<Option<IpAddr>, Unavailable>> {
        let there = self
            .up()
            .map(|world| world.containers.contains_key(program));
        now(there.map(|there| there.then_some(IpAddr::from([127, 0, 0, 1]))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Unavailable>> {
        let listed = |(program, container): (&ProgramId, &Container)| Listed {
            program: program.clone(),
            container: container.id.clone(),
            running: container.ended.is_none(),
        };
        now(self
            .up()
            .map(|world| world.containers.iter().map(listed).collect()))
    }

    fn image(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>> {
        let key = (program.clone(), build.clone());
        now(self.up().map(|world| world.images.get(&key).cloned()))
    }

    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let removed = self
            .up()
            .map(|mut world| world.images.retain(|(of, _), _| of != program));
        now(removed.map_err(StopError::from))
    }
}
