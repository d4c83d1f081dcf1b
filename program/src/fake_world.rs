//! A world in memory: the folders, builds and instances that programs have made in it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use hersh_machine::{OpId, SplitMix64, sim::World};

use crate::{
    BuildId, Cause, ContainerId, Effect, Event, ImageId, InstanceNumber, InstanceStatus, Instances,
    Lifecycle, Manifest, ProgramId, StartResult,
};

/// Folders, builds and instances of any number of programs.
#[derive(Clone, Debug, Default)]
pub struct FakeWorld {
    folders: BTreeSet<ProgramId>,
    builds: BTreeSet<(ProgramId, OpId)>,
    images: BTreeSet<(ProgramId, BuildId)>,
    instances: BTreeMap<ProgramId, Vec<(InstanceNumber, ContainerId)>>,
    most: usize,
    /// The instances whose `/state` is kept.
    writers: BTreeSet<(ProgramId, InstanceNumber)>,
    most_writers: usize,
}

impl FakeWorld {
    /// Returns the numbers of the instances of `program` and the runtime's ids for them, oldest first.
    #[must_use]
    pub fn instances(&self, program: &ProgramId) -> &[(InstanceNumber, ContainerId)] {
        self.instances.get(program).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of builds under way.
    #[must_use]
    pub fn builds(&self) -> usize {
        self.builds.len()
    }

    /// Returns whether the folders of `program` exist.
    #[must_use]
    pub fn has_folders(&self, program: &ProgramId) -> bool {
        self.folders.contains(program)
    }

    /// Returns the largest number of instances that one program ever had at once.
    #[must_use]
    pub fn most_instances(&self) -> usize {
        self.most
    }

    /// Returns the largest number of instances of one program that could write to its kept `/state` at once.
    #[must_use]
    pub fn most_writers(&self) -> usize {
        self.most_writers
    }

    /// Removes one instance of `program`, as if it had ended by itself.
    pub fn lose_instance(&mut self, program: &ProgramId, instance: InstanceNumber) {
        self.stop(program, Instances::One(instance));
    }

    /// Removes the instances of `program`, as if they had ended by themselves or somebody had removed them.
    pub fn lose_instances(&mut self, program: &ProgramId) {
        self.instances.remove(program);
    }

    /// Returns the id of the container that operation `op` of `program` makes.
    #[must_use]
    pub fn container_of(program: &ProgramId, op: OpId) -> ContainerId {
        let name = program.as_str().bytes().map(u64::from);
        let seed = name.fold(op.0, |sum, byte| sum.wrapping_mul(257).wrapping_add(byte));
        let digits = SplitMix64::new(seed).next_u64();
        ContainerId(format!("{digits:016x}").into())
    }

    /// Returns the id of the image that a build of `build` makes.
    #[must_use]
    pub fn image_of(build: &crate::BuildId) -> ImageId {
        let seed = build.as_str().bytes().map(u64::from).sum();
        let digits = SplitMix64::new(seed).next_u64();
        ImageId(format!("sha256:{digits:064x}").into())
    }

    fn succeed(&mut self, op: OpId, effect: &Effect) -> Option<Event> {
        match effect {
            Effect::EnsureProgramFolders { program } => {
                self.folders.insert(program.clone());
                Some(Event::FoldersEnsured { op, result: Ok(()) })
            }
            Effect::BuildImage { program, build, .. } => {
                self.images.insert((program.clone(), build.clone()));
                Some(Event::BuildFinished {
                    op,
                    result: Ok(Self::image_of(build)),
                })
            }
            Effect::StartInstance { program, .. } => Some(Event::InstanceStarted {
                op,
                started: StartResult {
                    container: Self::container_of(program, op),
                },
            }),
            Effect::StopInstances {
                program, instances, ..
            } => {
                self.stop(program, *instances);
                Some(Event::StopFinished { op, result: Ok(()) })
            }
            Effect::ObserveInstance { program, instance } => {
                let mut all = self.instances(program).iter();
                let running = all.find(|(number, _)| number == instance);
                let observed = running.map_or(InstanceStatus::Absent, |(_, container)| {
                    InstanceStatus::Running(container.clone())
                });
                Some(Event::InstanceObserved {
                    op,
                    result: Ok(observed),
                })
            }
            Effect::RemoveProgram { program } => {
                self.folders.remove(program);
                Some(Event::Removed { op, result: Ok(()) })
            }
            Effect::ScheduleRetry { .. } | Effect::Cancel { .. } | Effect::Refuse { .. } => None,
        }
    }
}

impl FakeWorld {
    fn start(
        &mut self,
        program: &ProgramId,
        instance: InstanceNumber,
        manifest: &Manifest,
        container: ContainerId,
    ) {
        let all = self.instances.entry(program.clone()).or_default();
        // The contract of `start_instance` asks to remove the remains of an earlier attempt at this instance
        // first.
        all.retain(|(number, _)| *number != instance);
        all.push((instance, container));
        self.most = self.most.max(all.len());
        if manifest.deploy.keeps_state() {
            self.writers.insert((program.clone(), instance));
        }
        let all = all.iter().map(|(number, _)| (program.clone(), *number));
        let writers = all.filter(|it| self.writers.contains(it)).count();
        self.most_writers = self.most_writers.max(writers);
    }

    /// Returns whether `effect` is a build whose image is there already: nothing is built then, so no build
    /// fails.
    fn finds_image(&self, effect: &Effect) -> bool {
        match effect {
            Effect::BuildImage { program, build, .. } => {
                self.images.contains(&(program.clone(), build.clone()))
            }
            Effect::EnsureProgramFolders { .. }
            | Effect::StartInstance { .. }
            | Effect::StopInstances { .. }
            | Effect::ObserveInstance { .. }
            | Effect::ScheduleRetry { .. }
            | Effect::Cancel { .. }
            | Effect::RemoveProgram { .. }
            | Effect::Refuse { .. } => false,
        }
    }

    fn stop(&mut self, program: &ProgramId, instances: Instances) {
        match instances {
            Instances::All => drop(self.instances.remove(program)),
            Instances::One(instance) => {
                if let Some(all) = self.instances.get_mut(program) {
                    all.retain(|(number, _)| *number != instance);
                }
            }
        }
    }
}

/// Returns the outcome of `effect` when it fails in the way that `choice` picks.
pub(crate) fn failure(op: OpId, effect: &Effect, choice: u64) -> Option<Event> {
    let message = || String::from("the fake was told to fail");
    let unavailable = || Cause::RuntimeUnavailable { message: message() };
    if choice.is_multiple_of(5) {
        return Some(Event::HandlerPanicked {
            op,
            message: message(),
        })
        .filter(|_| !matches!(effect, Effect::ScheduleRetry { .. }));
    }
    match effect {
        Effect::EnsureProgramFolders { .. } => Some(Event::FoldersEnsured {
            op,
            result: Err(Cause::FoldersFailed { message: message() }),
        }),
        Effect::BuildImage { .. } => Some(Event::BuildFinished {
            op,
            result: Err(Cause::BuildFailed {
                message: message(),
                logs: Vec::new(),
            }),
        }),
        Effect::StartInstance { .. } => Some(Event::StartFailed {
            op,
            cause: Cause::StartFailed {
                message: message(),
                logs: Vec::new(),
            },
        }),
        Effect::StopInstances { .. } => Some(Event::StopFinished {
            op,
            result: Err(Cause::StopFailed { message: message() }),
        }),
        Effect::ObserveInstance { .. } => Some(Event::InstanceObserved {
            op,
            result: Err(unavailable()),
        }),
        Effect::RemoveProgram { .. } => Some(Event::Removed {
            op,
            result: Err(Cause::RemoveFailed { message: message() }),
        }),
        Effect::ScheduleRetry { .. } | Effect::Cancel { .. } | Effect::Refuse { .. } => None,
    }
}

impl World<Lifecycle> for FakeWorld {
    fn begin(&mut self, op: OpId, effect: &Effect, _rng: &mut SplitMix64) {
        match effect {
            Effect::BuildImage { program, .. } => {
                self.builds.insert((program.clone(), op));
            }
            // The instance exists from the beginning of the start, even if the start fails later.
            Effect::StartInstance {
                program,
                instance,
                manifest,
                ..
            } => self.start(
                program,
                *instance,
                manifest,
                Self::container_of(program, op),
            ),
            Effect::EnsureProgramFolders { .. }
            | Effect::StopInstances { .. }
            | Effect::ObserveInstance { .. }
            | Effect::ScheduleRetry { .. }
            | Effect::Cancel { .. }
            | Effect::RemoveProgram { .. }
            | Effect::Refuse { .. } => {}
        }
    }

    fn end(
        &mut self,
        op: OpId,
        effect: &Effect,
        well: bool,
        rng: &mut SplitMix64,
    ) -> Option<Event> {
        self.abandon(op, effect);
        if well || self.finds_image(effect) {
            self.succeed(op, effect)
        } else {
            failure(op, effect, rng.next_u64())
        }
    }

    fn abandon(&mut self, op: OpId, effect: &Effect) {
        if let Effect::BuildImage { program, .. } = effect {
            self.builds.remove(&(program.clone(), op));
        }
    }
}
