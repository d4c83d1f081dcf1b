//! What a fake engine holds: images, containers, and who is told of their ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use hersh_program::{
    BuildId, ContainerId, Exit, ExitReason, ImageId, InstanceId, InstanceStatus, Instances,
    NetworkMode, ProgramId,
};
use hersh_sandbox::{Stats, UsedImages};
use tokio::sync::{mpsc, watch};

use super::{Answer, EndedInstance, Operation, Reply, Trouble, silence::Silences};

#[derive(Default)]
pub(super) struct World {
    pub(super) is_down: bool,
    made: u64,
    pub(super) starts: BTreeMap<ProgramId, u64>,
    /// The most instances of each program that ran at once.
    pub(super) most: BTreeMap<ProgramId, usize>,
    pub(super) images: BTreeMap<(ProgramId, BuildId), ImageId>,
    instances: BTreeMap<InstanceId, Container>,
    pub(super) exits: Option<mpsc::Sender<EndedInstance>>,
    /// Where processes reach a service outside.
    pub(super) outside: BTreeSet<SocketAddr>,
    pub(super) silences: Silences,
    begun: u64,
    under_way: BTreeMap<u64, Operation>,
}

/// An instance in the engine.
struct Container {
    id: ContainerId,
    made: Made,
    ended: Option<Exit>,
    /// The steps that its process has done.
    steps: u64,
    /// Whoever plays the process hears of each change.
    phase: watch::Sender<Phase>,
}

/// What an instance is made of.
#[derive(Clone, Default)]
pub(super) struct Made {
    /// `None` for an instance that no host asked for.
    pub(super) image: Option<ImageId>,
    /// The source tree that the image was built of.
    pub(super) build: Option<BuildId>,
    pub(super) memory_bytes: u64,
    pub(super) network: NetworkMode,
}

/// How an instance stands, as its process notices it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phase {
    pub(super) is_paused: bool,
    /// The stop signal was sent.
    pub(super) is_asked: bool,
    pub(super) is_over: bool,
}

impl World {
    pub(super) fn apply(&mut self, operation: Operation) -> Reply {
        Ok(match operation {
            Operation::Check => Answer::Done,
            Operation::Build(program, build) => {
                self.made += 1;
                let fresh = image_id(self.made);
                let image = self.images.entry((program, build)).or_insert(fresh);
                Answer::Image(Some(image.clone()))
            }
            Operation::Start(instance, image, memory_bytes, network) => {
                let Some(build) = self.build_of(&image) else {
                    return Err(Trouble::ImageGone(image));
                };
                let made = Made {
                    image: Some(image),
                    build: Some(build),
                    memory_bytes,
                    network,
                };
                Answer::Started(self.start(&instance, made))
            }
            Operation::Stop(program, instances) => {
                self.stop(&program, instances);
                Answer::Done
            }
            Operation::Observe(instance) => Answer::Observed(self.look(&instance)),
            Operation::List => {
                let listed = |(instance, container): (&InstanceId, &Container)| {
                    let runs = container.ended.is_none();
                    (instance.clone(), container.id.clone(), runs)
                };
                Answer::Listed(self.instances.iter().map(listed).collect())
            }
            Operation::Image(program, build) => {
                Answer::Image(self.images.get(&(program, build)).cloned())
            }
            Operation::Forget(program) => {
                self.images.retain(|(of, _), _| *of != program);
                Answer::Done
            }
        })
    }

    /// Returns the source tree of an image that is there.
    fn build_of(&self, image: &ImageId) -> Option<BuildId> {
        let ((_, build), _) = self.images.iter().find(|(_, it)| *it == image)?;
        Some(build.clone())
    }

    fn start(&mut self, instance: &InstanceId, made: Made) -> ContainerId {
        self.made += 1;
        *self.starts.entry(instance.program.clone()).or_default() += 1;
        let id = container_id(self.made);
        self.place(instance.clone(), id.clone(), made);
        let running = self.running().into_keys();
        let count = running.filter(|it| it.program == instance.program).count();
        let most = self.most.entry(instance.program.clone()).or_default();
        *most = count.max(*most);
        id
    }

    /// Puts an instance there that is called `id`.
    pub(super) fn place(&mut self, instance: InstanceId, id: ContainerId, made: Made) {
        self.remove(&instance);
        let container = Container {
            id,
            made,
            ended: None,
            steps: 0,
            phase: watch::Sender::default(),
        };
        self.instances.insert(instance, container);
    }

    fn stop(&mut self, program: &ProgramId, instances: Instances) {
        for instance in self.meant(program, instances) {
            self.remove(&instance);
        }
    }

    fn remove(&mut self, instance: &InstanceId) {
        if let Some(container) = self.instances.remove(instance) {
            container.phase.send_modify(|phase| phase.is_over = true);
        }
    }

    /// The instances of a program that are meant.
    fn meant(&self, program: &ProgramId, instances: Instances) -> Vec<InstanceId> {
        let is_meant = |instance: &&InstanceId| match instances {
            Instances::All => instance.program == *program,
            Instances::One(number) => instance.program == *program && instance.number == number,
        };
        self.instances.keys().filter(is_meant).cloned().collect()
    }

    /// Ends what runs of the instances that are meant, by order.
    pub(super) fn end_by_order(
        &mut self,
        program: &ProgramId,
        instances: Instances,
    ) -> Vec<EndedInstance> {
        let meant = self.meant(program, instances);
        let ends = meant.iter().filter_map(|instance| {
            let reason = ExitReason::StoppedFromOutside { code: 137 };
            self.end_one(instance, reason)
        });
        ends.collect()
    }

    /// Sends the stop signal to what runs of the instances that are meant; how each stands.
    pub(super) fn ask_to_stop(
        &self,
        program: &ProgramId,
        instances: Instances,
    ) -> Vec<watch::Receiver<Phase>> {
        let meant = self.meant(program, instances);
        let meant = meant.iter().filter_map(|it| self.instances.get(it));
        meant
            .map(|container| {
                container.phase.send_modify(|phase| {
                    phase.is_asked = true;
                    phase.is_paused = false;
                });
                container.phase.subscribe()
            })
            .collect()
    }

    /// Holds a running instance still, or lets it go on; whether it runs.
    pub(super) fn set_paused(&self, instance: &InstanceId, is_paused: bool) -> bool {
        let container = self.instances.get(instance);
        let Some(container) = container.filter(|it| it.ended.is_none()) else {
            return false;
        };
        let set = |phase: &mut Phase| phase.is_paused = is_paused;
        container.phase.send_modify(set);
        true
    }

    /// The instances that are paused.
    pub(super) fn paused(&self) -> BTreeSet<InstanceId> {
        let is_paused = |(_, it): &(_, &Container)| it.phase.borrow().is_paused;
        let paused = self.instances.iter().filter(is_paused);
        paused.map(|(instance, _)| instance.clone()).collect()
    }

    /// Notes that a process does a step; `false` if it does not run, or is paused.
    pub(super) fn note_step(&mut self, instance: &InstanceId, id: &ContainerId) -> bool {
        let container = self.instances.get_mut(instance);
        let container = container.filter(|it| it.id == *id && it.ended.is_none());
        let Some(container) = container.filter(|it| !it.phase.borrow().is_paused) else {
            return false;
        };
        container.steps += 1;
        true
    }

    /// How an instance stands, and what it is made of.
    pub(super) fn process(&self, instance: &InstanceId) -> Option<(Made, watch::Receiver<Phase>)> {
        let container = self.instances.get(instance)?;
        Some((container.made.clone(), container.phase.subscribe()))
    }

    /// The network of an instance, if it is there.
    pub(super) fn network(&self, instance: &InstanceId) -> Option<NetworkMode> {
        Some(self.instances.get(instance)?.made.network)
    }

    /// What a running instance uses: a step takes a microsecond.
    pub(super) fn stats(&self, instance: &InstanceId) -> Option<Stats> {
        let container = self.instances.get(instance);
        let container = container.filter(|it| it.ended.is_none())?;
        Some(Stats {
            cpu_us: container.steps,
            memory_limit_bytes: container.made.memory_bytes,
            ..Stats::default()
        })
    }

    /// Forgets images that nobody needs and no instance is made of; how many.
    pub(super) fn collect(&mut self, in_use: &UsedImages) -> usize {
        let before = self.images.len();
        let made_of: BTreeSet<&ImageId> = self
            .instances
            .values()
            .filter_map(|it| it.made.image.as_ref())
            .collect();
        self.images.retain(|of, image| {
            in_use.builds.contains(of) || in_use.images.contains(image) || made_of.contains(image)
        });
        before - self.images.len()
    }

    fn look(&self, instance: &InstanceId) -> InstanceStatus {
        match self.instances.get(instance) {
            None => InstanceStatus::Absent,
            Some(Container {
                id, ended: None, ..
            }) => InstanceStatus::Running(id.clone()),
            Some(Container {
                id,
                ended: Some(exit),
                ..
            }) => InstanceStatus::Exited(id.clone(), exit.clone()),
        }
    }

    /// Ends the newest instance of a program that runs, if one does.
    pub(super) fn end(&mut self, program: &ProgramId, reason: ExitReason) -> Option<EndedInstance> {
        let mut newest_first = self.instances.iter().rev();
        let (instance, _) = newest_first
            .find(|(instance, it)| instance.program == *program && it.ended.is_none())?;
        let instance = instance.clone();
        self.end_one(&instance, reason)
    }

    /// Ends an instance, if it runs.
    pub(super) fn end_one(
        &mut self,
        instance: &InstanceId,
        reason: ExitReason,
    ) -> Option<EndedInstance> {
        let container = self.instances.get_mut(instance);
        let container = container.filter(|it| it.ended.is_none())?;
        let exit = Exit {
            reason,
            logs: vec!["last words".into()],
        };
        container.ended = Some(exit.clone());
        container.phase.send_modify(|phase| {
            phase.is_paused = false;
            phase.is_over = true;
        });
        Some(EndedInstance {
            instance: instance.clone(),
            container: container.id.clone(),
            exit,
        })
    }

    /// Takes the newest instance away that runs, if one does.
    pub(super) fn take_away(&mut self, program: &ProgramId) -> Option<EndedInstance> {
        let ended = self.end(program, ExitReason::Vanished)?;
        self.instances.remove(&ended.instance);
        Some(ended)
    }

    /// The instances that run, and what each is called.
    pub(super) fn running(&self) -> BTreeMap<InstanceId, ContainerId> {
        let all = self.instances.iter();
        all.filter(|(_, container)| container.ended.is_none())
            .map(|(instance, container)| (instance.clone(), container.id.clone()))
            .collect()
    }

    /// The source tree that each instance that runs is made of, as far as that is known.
    pub(super) fn builds(&self) -> BTreeMap<ContainerId, BuildId> {
        let running = self.instances.values().filter(|it| it.ended.is_none());
        running
            .filter_map(|it| Some((it.id.clone(), it.made.build.clone()?)))
            .collect()
    }

    /// How much memory the instances of each program that run were given, bytes.
    pub(super) fn memory_bytes(&self) -> BTreeMap<ProgramId, u64> {
        let mut given = BTreeMap::new();
        let all = self.instances.iter();
        for (instance, container) in all.filter(|(_, it)| it.ended.is_none()) {
            *given.entry(instance.program.clone()).or_default() += container.made.memory_bytes;
        }
        given
    }

    /// Notes that an operation has begun; the number that ends it.
    pub(super) fn begin(&mut self, operation: Operation) -> u64 {
        self.begun += 1;
        self.under_way.insert(self.begun, operation);
        self.begun
    }

    /// Notes that it is over.
    pub(super) fn finish(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// What is being carried out, oldest first.
    pub(super) fn under_way(&self) -> Vec<Operation> {
        self.under_way.values().cloned().collect()
    }

    pub(super) fn ended(&self) -> Vec<EndedInstance> {
        let told = |(instance, container): (&InstanceId, &Container)| {
            container.ended.clone().map(|exit| EndedInstance {
                instance: instance.clone(),
                container: container.id.clone(),
                exit,
            })
        };
        self.instances.iter().filter_map(told).collect()
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
