//! An engine in memory: containers are entries in a map. It outlives the hosts that use it.
//!
//! ```text
//! Operation ─► outcome (delay, fate) ─► World ─► Reply
//!                                      ├► end(program) ─► exits, to the newest host
//!                                      └► Process, which a test may play
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use hersh_base::locked::locked;
use hersh_program::{
    BuildId, ContainerId, ExitReason, ImageId, InstanceId, Instances, NetworkMode, ProgramId,
};
use tokio::sync::mpsc;

use super::{
    Answer, EndedInstance, Fate, Operation, OperationOutcome, Process, Reply, Silence, Trouble,
    silence::ProbedAt,
    turns::Turns,
    world::{Made, World},
};
use hersh_sandbox::{EVENT_QUEUE, Stats, UsedImages};

type Script = Box<dyn Fn(&Operation) -> OperationOutcome + Send + Sync>;
type Player = Box<dyn Fn(Process) + Send + Sync>;

/// An engine in memory. Operations that change one program go one at a time.
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    turns: Turns,
    script: Script,
    player: Option<Player>,
    probed_at: ProbedAt,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::scripted(|_| OperationOutcome::default())
    }
}

impl FakeEngine {
    /// An engine without containers that asks `script` how each request goes.
    pub fn scripted(
        script: impl Fn(&Operation) -> OperationOutcome + Send + Sync + 'static,
    ) -> Self {
        Self {
            world: Arc::default(),
            turns: Turns::default(),
            script: Box::new(script),
            player: None,
            probed_at: ProbedAt::default(),
        }
    }

    /// Answers liveness probes for its instances, which then need no sockets.
    #[must_use]
    pub fn answering_probes(mut self) -> Self {
        self.probed_at = ProbedAt::Engine;
        self
    }

    /// An engine without containers whose programs `play` is given, each as it starts. Where nobody plays
    /// them, programs do nothing, and end as soon as they are asked to; of an end by order only a test tells
    /// who observes the engine.
    pub fn played_by(play: impl Fn(Process) + Send + Sync + 'static) -> Self {
        Self {
            player: Some(Box::new(play)),
            ..Self::default()
        }
    }

    /// Carries a request out as the script says.
    pub async fn carry_out(&self, operation: Operation) -> Reply {
        let _turn = self.turns.take(&operation).await;
        let number = self.world().begin(operation.clone());
        let outcome = (self.script)(&operation);
        let mut in_hand = OngoingOperation {
            engine: self,
            number,
            unfinished: outcome
                .finishes_when_abandoned
                .then(|| (operation.clone(), outcome.fate.clone())),
        };
        pause(outcome.before).await;
        in_hand.unfinished = None;
        let ended = self.end_by_order(&operation, &outcome.fate);
        let started = started(&operation);
        let reply = self.decide(operation, outcome.fate);
        if let (Some(instance), Ok(Answer::Started(container))) = (started, &reply) {
            if let Some(silence) = outcome.silence {
                self.silence(container, silence);
            }
            self.play(instance, container.clone());
        }
        for ended in ended {
            self.tell(ended).await;
        }
        pause(outcome.after).await;
        reply
    }

    /// What is being carried out right now, oldest first.
    pub fn under_way(&self) -> Vec<Operation> {
        self.world().under_way()
    }

    /// From now on the engine answers nothing, or answers again.
    pub fn set_down(&self, is_down: bool) {
        self.world().is_down = is_down;
    }

    /// The programs that run, and what their newest instance is called.
    pub fn running(&self) -> BTreeMap<ProgramId, ContainerId> {
        let running = self.world().running().into_iter();
        running
            .map(|(instance, container)| (instance.program, container))
            .collect()
    }

    /// The instances that run.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.world().running().into_keys().collect()
    }

    /// How much memory each program that runs was given, bytes.
    pub fn memory_bytes(&self) -> BTreeMap<ProgramId, u64> {
        self.world().memory_bytes()
    }

    /// The source tree that each instance that runs is made of, as far as that is known.
    pub fn builds(&self) -> BTreeMap<ContainerId, BuildId> {
        self.world().builds()
    }

    /// From now on the instance called `container` does not answer its liveness probe.
    pub fn silence(&self, container: &ContainerId, silence: Silence) {
        self.world().silences.begin(container, silence);
    }

    /// How long the instance called `container` will go on not to answer; `None` if it answers.
    pub fn silence_of(&self, container: &ContainerId) -> Option<Silence> {
        self.world().silences.of(container)
    }

    /// The most liveness probes in a row that the instance called `container` did not answer.
    pub fn missed_probes(&self, container: &ContainerId) -> u32 {
        self.world().silences.missed_in_a_row_max(container)
    }

    /// The answer of the instance called `container` to a liveness probe, which never comes from one that is
    /// silent. `None` if the instance has to be asked itself.
    pub(super) fn liveness_answer(
        &self,
        container: &ContainerId,
    ) -> Option<BoxFuture<'static, ()>> {
        match self.probed_at {
            ProbedAt::Endpoint => None,
            ProbedAt::Engine => Some(match self.world().silences.probe(container) {
                true => std::future::ready(()).boxed(),
                false => std::future::pending().boxed(),
            }),
        }
    }

    /// Whether instances are probed where they are reached.
    pub(super) fn has_sockets(&self) -> bool {
        self.probed_at == ProbedAt::Endpoint
    }

    /// The instances that run, and what each is called.
    pub fn containers(&self) -> BTreeMap<InstanceId, ContainerId> {
        self.world().running()
    }

    /// All images go, as with an engine that lost its data.
    pub fn lose_images(&self) {
        self.world().images.clear();
    }

    /// How many containers were ever made for `program`.
    pub fn starts(&self, program: &ProgramId) -> u64 {
        self.world().starts.get(program).copied().unwrap_or(0)
    }

    /// The most instances of `program` that ever ran at once.
    pub fn most_at_once(&self, program: &ProgramId) -> usize {
        self.world().most.get(program).copied().unwrap_or(0)
    }

    /// Puts an instance there, called `container`, that no host asked for.
    pub fn plant(&self, instance: InstanceId, container: ContainerId) {
        self.world().place(instance, container, Made::default());
    }

    /// Puts an image there, as an earlier build of the program made it.
    pub fn plant_image(&self, program: ProgramId, build: BuildId, image: ImageId) {
        self.world().images.insert((program, build), image);
    }

    /// Ends a program's newest instance with `code`, as its own doing; false if none runs. Who observes the engine is told.
    pub async fn end(&self, program: &ProgramId, code: i32) -> bool {
        let Some(ended) = self.end_unseen(program, ExitReason::Code(code)) else {
            return false;
        };
        self.tell(ended).await;
        true
    }

    /// Ends a program's container and tells nobody; what there is to [`FakeEngine::tell`], late or
    /// more than once. `None` if none runs.
    pub fn end_unseen(&self, program: &ProgramId, reason: ExitReason) -> Option<EndedInstance> {
        self.world().end(program, reason)
    }

    /// Tells whoever observes the engine of an end.
    pub async fn tell(&self, ended: EndedInstance) {
        let exits = self.world().exits.clone();
        if let Some(exits) = exits {
            // A host that has gone away finds out when it comes back.
            let _ = exits.send(ended).await;
        }
    }

    /// Takes a program's container away, as a person at the engine would, and tells nobody. `None`
    /// if none runs.
    pub fn take_away(&self, program: &ProgramId) -> Option<EndedInstance> {
        self.world().take_away(program)
    }

    /// Exits from now on, and first those of the containers that have ended already. Only the
    /// newest observer is told.
    pub fn observe(&self) -> mpsc::Receiver<EndedInstance> {
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

    /// Forgets images that nothing refers to; how many.
    pub(super) fn collect(&self, in_use: &UsedImages) -> usize {
        self.world().collect(in_use)
    }

    /// Asks instances to stop, which wakes those that are paused, and waits until all have ended or `grace` is
    /// over.
    pub(super) async fn ask_to_stop(
        &self,
        program: &ProgramId,
        instances: Instances,
        grace: Duration,
    ) {
        if self.player.is_none() {
            return;
        }
        let phases = self.world().ask_to_stop(program, instances);
        let ends = phases.into_iter().map(async |mut phase| {
            // It is over as well once the instance was removed.
            let _ = phase.wait_for(|phase| phase.is_over).await;
        });
        let _ = tokio::time::timeout(grace, join_all(ends)).await;
    }

    /// Kills what runs of the instances that are meant. Whoever stops them finds them ended.
    pub(super) async fn kill(&self, program: &ProgramId, instances: Instances) {
        let killed = self.world().end_by_order(program, instances);
        if self.player.is_some() {
            for ended in killed {
                self.tell(ended).await;
            }
        }
    }

    /// Holds a running instance still, or lets it go on; whether it runs.
    pub(super) fn set_paused(&self, instance: &InstanceId, is_paused: bool) -> bool {
        self.world().set_paused(instance, is_paused)
    }

    /// The instances that are paused.
    pub(super) fn paused(&self) -> BTreeSet<InstanceId> {
        self.world().paused()
    }

    /// The network of an instance, if it is there.
    pub(super) fn network(&self, instance: &InstanceId) -> Option<NetworkMode> {
        self.world().network(instance)
    }

    /// What a running instance uses.
    pub(super) fn stats(&self, instance: &InstanceId) -> Option<Stats> {
        self.world().stats(instance)
    }

    /// Puts a service outside, which programs with egress reach and others do not.
    pub fn put_outside(&self, service: SocketAddr) {
        self.world().outside.insert(service);
    }

    /// Ends what a stop is about, where somebody plays it, unless the stop fails.
    fn end_by_order(&self, operation: &Operation, fate: &Fate) -> Vec<EndedInstance> {
        let mut world = self.world();
        let is_done = !world.is_down && matches!(fate, Fate::Done | Fate::AnswerLost);
        let is_done = is_done && self.player.is_some();
        if let Operation::Stop(program, instances) = operation
            && is_done
        {
            return world.end_by_order(program, *instances);
        }
        Vec::new()
    }

    fn play(&self, instance: InstanceId, container: ContainerId) {
        let Some(play) = &self.player else {
            return;
        };
        if let Some(process) = Process::find(&self.world, instance, container) {
            play(process);
        }
    }

    fn decide(&self, operation: Operation, fate: Fate) -> Reply {
        let mut world = self.world();
        if world.is_down {
            return Err(Trouble::Unavailable("the engine is down".into()));
        }
        let unavailable = Trouble::Unavailable("the engine does not answer".into());
        match fate {
            Fate::Done => world.apply(operation),
            Fate::Failed(message) => Err(Trouble::Failed(message)),
            Fate::Unavailable => Err(unavailable),
            Fate::AnswerLost => {
                // Whatever came of it.
                let _ = world.apply(operation);
                Err(unavailable)
            }
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }
}

/// An operation that is being carried out.
struct OngoingOperation<'a> {
    engine: &'a FakeEngine,
    number: u64,
    /// What is done all the same if this is dropped early.
    unfinished: Option<(Operation, Fate)>,
}

impl Drop for OngoingOperation<'_> {
    fn drop(&mut self) {
        if let Some((operation, fate)) = self.unfinished.take() {
            let _ = self.engine.decide(operation, fate);
        }
        self.engine.world().finish(self.number);
    }
}

/// The instance that a request starts.
fn started(operation: &Operation) -> Option<InstanceId> {
    if let Operation::Start(instance, ..) = operation {
        return Some(instance.clone());
    }
    None
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
