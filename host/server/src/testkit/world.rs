//! What a fake engine holds: images, containers, and who is told of their ends.

use std::collections::BTreeMap;

use hersh_program::{
    BuildId, ContainerId, Exit, ExitReason, ImageId, InstanceId, Instances, Observed, ProgramId,
};
use tokio::sync::mpsc;

use super::{Answer, Ended, Operation, Reply, Trouble};

#[derive(Default)]
pub(super) struct World {
    pub(super) is_down: bool,
    made: u64,
    pub(super) starts: BTreeMap<ProgramId, u64>,
    pub(super) images: BTreeMap<(ProgramId, BuildId), ImageId>,
    instances: BTreeMap<InstanceId, Container>,
    pub(super) exits: Option<mpsc::Sender<Ended>>,
    begun: u64,
    under_way: BTreeMap<u64, Operation>,
}

struct Container {
    id: ContainerId,
    memory_bytes: u64,
    ended: Option<Exit>,
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
            Operation::Start(instance, image, memory_bytes) => {
                if !self.images.values().any(|it| *it == image) {
                    return Err(Trouble::ImageGone(image));
                }
                Answer::Started(self.start(&instance, memory_bytes))
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
                Answer::ListedInstance(self.instances.iter().map(listed).collect())
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

    fn start(&mut self, instance: &InstanceId, memory_bytes: u64) -> ContainerId {
        self.made += 1;
        *self.starts.entry(instance.program.clone()).or_default() += 1;
        let id = container_id(self.made);
        self.place(instance.clone(), id.clone(), memory_bytes);
        id
    }

    /// Puts an instance there that is called `id`.
    pub(super) fn place(&mut self, instance: InstanceId, id: ContainerId, memory_bytes: u64) {
        let container = Container {
            id,
            memory_bytes,
            ended: None,
        };
        self.instances.insert(instance, container);
    }

    fn stop(&mut self, program: &ProgramId, instances: Instances) {
        self.instances.retain(|instance, _| {
            let is_meant = match instances {
                Instances::All => true,
                Instances::One(number) => instance.number == number,
            };
            instance.program != *program || !is_meant
        });
    }

    fn look(&self, instance: &InstanceId) -> Observed {
        match self.instances.get(instance) {
            None => Observed::Absent,
            Some(Container {
                id, ended: None, ..
            }) => Observed::Running(id.clone()),
            Some(Container {
                id,
                ended: Some(exit),
                ..
            }) => Observed::Exited(id.clone(), exit.clone()),
        }
    }

    /// Ends the newest instance of a program that runs, if one does.
    pub(super) fn end(&mut self, program: &ProgramId, reason: ExitReason) -> Option<Ended> {
        let mut newest_first = self.instances.iter_mut().rev();
        let (instance, container) = newest_first
            .find(|(instance, it)| instance.program == *program && it.ended.is_none())?;
        let exit = Exit {
            reason,
            logs: vec!["last words".into()],
        };
        container.ended = Some(exit.clone());
        Some(Ended {
            instance: instance.clone(),
            container: container.id.clone(),
            exit,
        })
    }

    /// Takes the newest instance away that runs, if one does.
    pub(super) fn take_away(&mut self, program: &ProgramId) -> Option<Ended> {
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

    /// How much memory the instances of each program that run were given, bytes.
    pub(super) fn memory_bytes(&self) -> BTreeMap<ProgramId, u64> {
        let mut given = BTreeMap::new();
        let all = self.instances.iter();
        for (instance, container) in all.filter(|(_, it)| it.ended.is_none()) {
            *given.entry(instance.program.clone()).or_default() += container.memory_bytes;
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

    pub(super) fn ended(&self) -> Vec<Ended> {
        let told = |(instance, container): (&InstanceId, &Container)| {
            container.ended.clone().map(|exit| Ended {
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
