//! What a fake engine holds: images, containers, and who is told of their ends.

use std::collections::BTreeMap;

use hersh_program::{BuildId, ContainerId, Exit, ExitReason, ImageId, Observed, ProgramId};
use tokio::sync::mpsc;

use super::{Answer, Ended, Operation, Reply, Trouble};

#[derive(Default)]
pub(super) struct World {
    pub(super) is_down: bool,
    made: u64,
    pub(super) starts: BTreeMap<ProgramId, u64>,
    pub(super) images: BTreeMap<(ProgramId, BuildId), ImageId>,
    pub(super) containers: BTreeMap<ProgramId, Container>,
    pub(super) exits: Option<mpsc::Sender<Ended>>,
    begun: u64,
    under_way: BTreeMap<u64, Operation>,
}

pub(super) struct Container {
    pub(super) id: ContainerId,
    memory_bytes: u64,
    pub(super) ended: Option<Exit>,
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
            Operation::Start(program, image, memory_bytes) => {
                if !self.images.values().any(|it| *it == image) {
                    return Err(Trouble::ImageGone(image));
                }
                Answer::Started(self.start(&program, memory_bytes))
            }
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
        })
    }

    pub(super) fn start(&mut self, program: &ProgramId, memory_bytes: u64) -> ContainerId {
        self.made += 1;
        *self.starts.entry(program.clone()).or_default() += 1;
        let id = container_id(self.made);
        let container = Container {
            id: id.clone(),
            memory_bytes,
            ended: None,
        };
        self.containers.insert(program.clone(), container);
        id
    }

    fn look(&self, program: &ProgramId) -> Observed {
        match self.containers.get(program) {
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

    /// Ends a container that runs, if there is one.
    pub(super) fn end(&mut self, program: &ProgramId, reason: ExitReason) -> Option<Ended> {
        let container = self.containers.get_mut(program)?;
        if container.ended.is_some() {
            return None;
        }
        let exit = Exit {
            reason,
            logs: vec!["last words".into()],
        };
        container.ended = Some(exit.clone());
        Some(Ended {
            program: program.clone(),
            container: container.id.clone(),
            exit,
        })
    }

    /// Takes a container away that runs, if there is one.
    pub(super) fn take_away(&mut self, program: &ProgramId) -> Option<Ended> {
        let ended = self.end(program, ExitReason::Vanished)?;
        self.containers.remove(program);
        Some(ended)
    }

    /// The programs that run, and in which container.
    pub(super) fn running(&self) -> BTreeMap<ProgramId, ContainerId> {
        let all = self.containers.iter();
        all.filter(|(_, container)| container.ended.is_none())
            .map(|(program, container)| (program.clone(), container.id.clone()))
            .collect()
    }

    /// How much memory each program that runs was given, bytes.
    pub(super) fn memory_bytes(&self) -> BTreeMap<ProgramId, u64> {
        let all = self.containers.iter();
        all.filter(|(_, container)| container.ended.is_none())
            .map(|(program, container)| (program.clone(), container.memory_bytes))
            .collect()
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
