//! An engine in memory: containers are entries in a map. It outlives the hosts that use it.
//!
//! ```text
//! Operation ─► plan (delay, fate) ─► World ─► Reply
//!                                      └► end(program) ─► exits, to the newest host
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hersh_program::{BuildId, ContainerId, Exit, ExitReason, ImageId, Observed, ProgramId};
use tokio::sync::mpsc;

use super::{Answer, Ended, Fate, Operation, Plan, Reply, Trouble};
use crate::runtime::{EVENT_QUEUE, InUse};

type Script = Box<dyn Fn(&Operation) -> Plan + Send + Sync>;

/// An engine in memory. Operations that change one program go one at a time.
pub struct FakeEngine {
    world: Mutex<World>,
    turns: Mutex<BTreeMap<ProgramId, Arc<tokio::sync::Mutex<()>>>>,
    script: Script,
}

#[derive(Default)]
struct World {
    is_down: bool,
    made: u64,
    starts: BTreeMap<ProgramId, u64>,
    images: BTreeMap<(ProgramId, BuildId), ImageId>,
    containers: BTreeMap<ProgramId, Container>,
    exits: Option<mpsc::Sender<Ended>>,
}

struct Container {
    id: ContainerId,
    ended: Option<Exit>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::scripted(|_| Plan::default())
    }
}

impl FakeEngine {
    /// Forgets images that nothing refers to; how many.
    pub(super) fn collect(&self, in_use: &InUse) -> usize {
        let mut world = self.world();
        let before = world.images.len();
        let is_used = |of: &(ProgramId, BuildId), image: &mut ImageId| {
            in_use.builds.contains(of) || in_use.images.contains(image)
        };
        world.images.retain(is_used);
        before - world.images.len()
    }

    /// An engine without containers that asks `script` how each request goes.
    pub fn scripted(script: impl Fn(&Operation) -> Plan + Send + Sync + 'static) -> Self {
        Self {
            world: Mutex::default(),
            turns: Mutex::default(),
            script: Box::new(script),
        }
    }

    /// Carries a request out as the script says.
    pub async fn carry_out(&self, operation: Operation) -> Reply {
        let turn = operation.changes().map(|program| self.turn(program));
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let plan = (self.script)(&operation);
        pause(plan.before).await;
        let reply = self.decide(operation, plan.fate);
        pause(plan.after).await;
        reply
    }

    /// From now on the engine answers nothing, or answers again.
    pub fn set_down(&self, is_down: bool) {
        self.world().is_down = is_down;
    }

    /// The programs that run, and in which container.
    pub fn running(&self) -> BTreeMap<ProgramId, ContainerId> {
        let world = self.world();
        let runs = |(_, container): &(&ProgramId, &Container)| container.ended.is_none();
        world
            .containers
            .iter()
            .filter(runs)
            .map(|(program, container)| (program.clone(), container.id.clone()))
            .collect()
    }

    /// How many containers were ever made for `program`.
    pub fn starts(&self, program: &ProgramId) -> u64 {
        self.world().starts.get(program).copied().unwrap_or(0)
    }

    /// Puts a container there that no host asked for.
    pub fn plant(&self, program: &ProgramId) {
        self.world().start(program);
    }

    /// Ends a program's container with `code`; false if none runs. Who observes the engine is told.
    pub async fn end(&self, program: &ProgramId, code: i32) -> bool {
        let exit = Exit {
            reason: ExitReason::Code(code),
            logs: vec!["last words".into()],
        };
        let told = self.world().end(program, exit);
        let Some((exits, ended)) = told else {
            return false;
        };
        if let Some(exits) = exits {
            // A host that has gone away finds out when it comes back.
            let _ = exits.send(ended).await;
        }
        true
    }

    /// Exits from now on, and first those of the containers that have ended already. Only the
    /// newest observer is told.
    pub fn observe(&self) -> mpsc::Receiver<Ended> {
        let mut world = self.world();
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        for ended in world.ended() {
            // What does not fit is found by looking, as with a real engine.
            let _ = sender.try_send(ended);
        }
        world.exits = Some(sender);
        receiver
    }

    /// Tells nobody of exits until somebody observes anew.
    pub fn forget_observer(&self) {
        self.world().exits = None;
    }

    fn decide(&self, operation: Operation, fate: Fate) -> Reply {
        let mut world = self.world();
        if world.is_down {
            return Err(Trouble::Unavailable("the engine is down".into()));
        }
        let unavailable = Trouble::Unavailable("the engine does not answer".into());
        match fate {
            Fate::Done => Ok(world.apply(operation)),
            Fate::Failed(message) => Err(Trouble::Failed(message)),
            Fate::Unavailable => Err(unavailable),
            Fate::AnswerLost => {
                world.apply(operation);
                Err(unavailable)
            }
        }
    }

    fn turn(&self, program: &ProgramId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(program.clone()).or_default())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn apply(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Check => Answer::Done,
            Operation::Build(program, build) => {
                self.made += 1;
                let fresh = image_id(self.made);
                let image = self.images.entry((program, build)).or_insert(fresh);
                Answer::Image(Some(image.clone()))
            }
            Operation::Start(program) => Answer::Started(self.start(&program)),
            Operation::Stop(program) => {
                self.containers.remove(&program);
                Answer::Done
            }
            Operation::Observe(program) => Answer::Observed(self.look(&program)),
            Operation::List => {
                let listed = |(program, container): (&ProgramId, &Container)| {
                    let runs = container.ended.is_none();
                    (program.clone(), container.id.clone(), runs)
                };
                Answer::Listed(self.containers.iter().map(listed).collect())
            }
            Operation::Image(program, build) => {
                Answer::Image(self.images.get(&(program, build)).cloned())
            }
            Operation::Forget(program) => {
                self.images.retain(|(of, _), _| *of != program);
                Answer::Done
            }
        }
    }

    fn start(&mut self, program: &ProgramId) -> ContainerId {
        self.made += 1;
        *self.starts.entry(program.clone()).or_default() += 1;
        let id = container_id(self.made);
        let container = Container {
            id: id.clone(),
            ended: None,
        };
        self.containers.insert(program.clone(), container);
        id
    }

    fn look(&self, program: &ProgramId) -> Observed {
        match self.containers.get(program) {
            None => Observed::Absent,
            Some(Container { id, ended: None }) => Observed::Running(id.clone()),
            Some(Container {
                id,
                ended: Some(exit),
            }) => Observed::Exited(id.clone(), exit.clone()),
        }
    }

    fn end(
        &mut self,
        program: &ProgramId,
        exit: Exit,
    ) -> Option<(Option<mpsc::Sender<Ended>>, Ended)> {
        let container = self.containers.get_mut(program)?;
        if container.ended.is_some() {
            return None;
        }
        container.ended = Some(exit.clone());
        let ended = Ended {
            program: program.clone(),
            container: container.id.clone(),
            exit,
        };
        Some((self.exits.clone(), ended))
    }

    fn ended(&self) -> Vec<Ended> {
        let told = |(program, container): (&ProgramId, &Container)| {
            container.ended.clone().map(|exit| Ended {
                program: program.clone(),
                container: container.id.clone(),
                exit,
            })
        };
        self.containers.iter().filter_map(told).collect()
    }
}

async fn pause(time: std::time::Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn container_id(number: u64) -> ContainerId {
    match ContainerId::parse(&format!("{number:012x}")) {
        Ok(id) => id,
        Err(error) => unreachable!("hex digits are an id: {error}"),
    }
}

fn image_id(number: u64) -> ImageId {
    match ImageId::parse(&format!("sha256:{number:064x}")) {
        Ok(id) => id,
        Err(error) => unreachable!("hex digits are an id: {error}"),
    }
}
