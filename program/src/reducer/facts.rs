//! The shared part of all states: the data of a program that stays, and the transitions between states.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use hersh_machine::{OpId, StepContext};

use crate::{
    AfterBuild, AfterStop, BuildStep, Building, Cause, Effect, ImageId, InstanceNumber, Instances,
    Manifest, OnNotAlive, Program, ProgramId, Ready, Refusal, RestartPolicy, Rules, Source,
    Starting, State, StopStep, Stopping,
};

/// The extra time before a handler is given up, beyond the time that its effect names, milliseconds. A
/// handler that keeps its own time ends earlier and can say what it saw last.
pub const HANDLER_SLACK_MS: u64 = 10_000;
/// The longest wait of a build for its turn, milliseconds: a host builds few images at once. The build's own
/// time begins after the wait, and its deadline allows for both.
pub const BUILD_QUEUE_MS: u64 = 60 * 60_000;
/// The longest wait of a start for its turn, milliseconds: a host starts few containers at once. The start's
/// own time begins with its turn.
pub const START_QUEUE_MS: u64 = 10 * 60_000;
/// The extra time of a stop beyond its grace period, milliseconds. It is longer than the clean-up of a
/// cancelled effect may take before the stop begins.
pub const STOP_SLACK_MS: u64 = 60_000;
/// The longest time for removing folders and images, milliseconds.
pub const REMOVE_TIMEOUT_MS: u64 = 120_000;
/// The longest wait for the runtime to say whether a container runs, before it is asked again, milliseconds.
pub const CHECK_TIMEOUT_MS: u64 = 60_000;

/// What follows a stop that a person asked for.
pub(super) const STOP: AfterStop = AfterStop::Stop { last_exit: None };

/// All data of a program except its state, while the reducer leaves that state.
pub(super) struct Facts<'a>(pub(super) &'a mut Program);

impl Facts<'_> {
    /// Returns whether something of an earlier start may run.
    pub(super) fn may_run(&self) -> bool {
        self.0.instance_manifest.is_some()
    }

    /// Marks that something left from before may run. Only a stop of all instances can end it.
    pub(super) fn something_runs(&mut self) {
        let manifest = &self.0.source.manifest;
        self.0
            .instance_manifest
            .get_or_insert_with(|| Arc::clone(manifest));
    }

    /// Marks that something may run after a stop that failed, also of a program that had begun no start: the
    /// stop may have been for an instance that a host found and that the program had not asked for.
    pub(super) fn may_run_on(&mut self) {
        match self.0.rules {
            Rules::First => {}
            Rules::Second => self.something_runs(),
        }
    }

    /// Marks that everything that ran is stopped and removed.
    pub(super) fn nothing_runs(&mut self) {
        self.0.instance_manifest = None;
        self.0.instance_build = None;
    }

    /// Begins to number instances: every instance from now on gets a number.
    pub(super) fn number_instances(&mut self) {
        self.0.instances.get_or_insert(0);
    }

    /// Returns whether instances have numbers, by which they can be told apart.
    pub(super) fn numbers_instances(&self) -> bool {
        self.0.instances.is_some()
    }

    /// Returns the number for the next instance.
    fn next_instance(&mut self) -> InstanceNumber {
        let Some(minted) = &mut self.0.instances else {
            return InstanceNumber::UNNUMBERED;
        };
        *minted += 1;
        InstanceNumber(*minted)
    }

    /// Goes to Building. Every start that a person asks for begins with folders and build, which cost little
    /// when nothing changed.
    pub(super) fn build(&self, cx: &mut StepContext<Effect>) -> State {
        let (source, _image) = self.planned();
        State::Building(self.begin_build(source, AfterBuild::Start, cx))
    }

    /// Begins the build of `source` with its first step.
    pub(super) fn begin_build(
        &self,
        source: Source,
        then: AfterBuild,
        cx: &mut StepContext<Effect>,
    ) -> Building {
        let op = cx.emit(Effect::EnsureProgramFolders {
            program: self.0.id.clone(),
        });
        Building {
            op,
            deadline_ms: build_deadline_ms(&source.manifest, cx.now_ms()),
            step: BuildStep::Folders,
            source,
            then,
        }
    }

    /// Goes on from the folders to the image, within the same deadline.
    pub(super) fn build_image(&self, building: Building, cx: &mut StepContext<Effect>) -> Building {
        let left_ms = building.deadline_ms.saturating_sub(cx.now_ms());
        let op = cx.emit(Effect::BuildImage {
            program: self.0.id.clone(),
            build: building.source.build.clone(),
            network: building.source.manifest.build.network,
            recipe: Arc::clone(&building.source.manifest.build.recipe),
            timeout_ms: left_ms
                .saturating_sub(BUILD_QUEUE_MS + HANDLER_SLACK_MS)
                .max(1),
        });
        Building {
            op,
            step: BuildStep::Image,
            ..building
        }
    }

    /// Goes to Starting with `image`, which was built of `source`. From here on something of `source` may
    /// run.
    pub(super) fn start(
        &mut self,
        image: ImageId,
        source: &Source,
        cx: &mut StepContext<Effect>,
    ) -> State {
        self.runs(source);
        State::Starting(self.begin_start(image, &source.manifest, cx))
    }

    /// Notes that the newest instance is of `source`.
    pub(super) fn runs(&mut self, source: &Source) {
        self.0.instance_manifest = Some(Arc::clone(&source.manifest));
        self.0.instance_build = Some(source.build.clone());
    }

    /// Begins to bring up one more instance.
    pub(super) fn begin_start(
        &mut self,
        image: ImageId,
        manifest: &Arc<Manifest>,
        cx: &mut StepContext<Effect>,
    ) -> Starting {
        let instance = self.next_instance();
        let op = cx.emit(Effect::StartInstance {
            program: self.0.id.clone(),
            instance,
            image: image.clone(),
            manifest: Arc::clone(manifest),
        });
        Starting {
            op,
            deadline_ms: start_deadline_ms(manifest, cx.now_ms()),
            instance,
            image,
            exits: Vec::new(),
        }
    }

    /// Goes to Starting if the planned revision has an image, otherwise to Building.
    pub(super) fn start_or_build(&mut self, cx: &mut StepContext<Effect>) -> State {
        match self.planned() {
            (source, Some(image)) => self.start(image, &source, cx),
            (_source, None) => self.build(cx),
        }
    }

    /// Goes to Stopping, and stops `instance` and all other instances of the program.
    pub(super) fn stop(
        &self,
        instance: Option<InstanceNumber>,
        then: AfterStop,
        cx: &mut StepContext<Effect>,
    ) -> State {
        self.stop_all((instance, None), then, cx)
    }

    /// Works like [`Facts::stop`]. A second instance that is stopped too had the manifest `beside`.
    fn stop_all(
        &self,
        (instance, beside): (Option<InstanceNumber>, Option<Arc<Manifest>>),
        then: AfterStop,
        cx: &mut StepContext<Effect>,
    ) -> State {
        let grace_ms = self.start_manifest().timeouts.stop_grace_ms;
        let op = cx.emit(Effect::StopInstances {
            program: self.0.id.clone(),
            instances: Instances::All,
            drain_ms: 0,
            grace_ms,
        });
        State::Stopping(Stopping {
            op,
            deadline_ms: self.stop_deadline_ms(StopStep::Instances, cx.now_ms()),
            step: StopStep::Instances,
            instance,
            beside,
            then,
        })
    }

    /// Goes from Ready to Stopping.
    pub(super) fn stop_ready(
        &self,
        ready: &Ready,
        then: AfterStop,
        cx: &mut StepContext<Effect>,
    ) -> State {
        cancel_check(ready, cx);
        // A stop of one instance may wait for its requests, and the stop of all would wait for that.
        let leaving = ready.leaving.as_ref();
        if let Some(leaving) = leaving {
            cx.emit(Effect::Cancel { op: leaving.op });
        }
        let beside = leaving.map(|leaving| Arc::clone(&leaving.manifest));
        self.stop_all((Some(ready.instance), beside), then, cx)
    }

    /// Cancels `op` and goes to Stopping.
    pub(super) fn abandon(
        &self,
        op: OpId,
        instance: Option<InstanceNumber>,
        then: AfterStop,
        cx: &mut StepContext<Effect>,
    ) -> State {
        cx.emit(Effect::Cancel { op });
        self.stop(instance, then, cx)
    }

    /// Goes to the last step before Removed. Nothing of the program runs.
    pub(super) fn remove(&self, cx: &mut StepContext<Effect>) -> State {
        let op = cx.emit(Effect::RemoveProgram {
            program: self.0.id.clone(),
        });
        State::Stopping(Stopping {
            op,
            deadline_ms: self.stop_deadline_ms(StopStep::Files, cx.now_ms()),
            step: StopStep::Files,
            instance: None,
            beside: None,
            then: AfterStop::Remove,
        })
    }

    /// Returns the manifest of the start that is under way, or was made last.
    pub(super) fn start_manifest(&self) -> Arc<Manifest> {
        let manifest = self.0.instance_manifest.clone();
        manifest.unwrap_or_else(|| self.planned().0.manifest)
    }

    /// Returns the restart policy of the current start.
    pub(super) fn policy(&self) -> RestartPolicy {
        self.start_manifest().restart
    }

    /// Returns whether an instance that does not answer its liveness probe is stopped and started again.
    pub(super) fn restarts_what_is_not_alive(&self) -> bool {
        let manifest = self.start_manifest();
        let on_failure = manifest
            .liveness
            .as_ref()
            .map(|liveness| liveness.on_failure);
        match (on_failure, manifest.restart) {
            (Some(OnNotAlive::Restart), RestartPolicy::OnFailure | RestartPolicy::Always) => true,
            (Some(OnNotAlive::Restart), RestartPolicy::Never)
            | (Some(OnNotAlive::Notify) | None, _) => false,
        }
    }

    pub(super) fn program(&self) -> ProgramId {
        self.0.id.clone()
    }

    pub(super) fn start_timeout_ms(&self) -> u64 {
        self.start_manifest().timeouts.start_ms
    }

    pub(super) fn start_deadline_ms(&self, now_ms: u64) -> u64 {
        start_deadline_ms(&self.start_manifest(), now_ms)
    }

    pub(super) fn stop_timeout_ms(&self, step: StopStep) -> u64 {
        let grace_ms = self.start_manifest().timeouts.stop_grace_ms;
        match step {
            StopStep::Instances => grace_ms.saturating_add(STOP_SLACK_MS),
            StopStep::Files => REMOVE_TIMEOUT_MS,
        }
    }

    pub(super) fn stop_deadline_ms(&self, step: StopStep, now_ms: u64) -> u64 {
        after(now_ms, self.stop_timeout_ms(step))
    }
}

/// Tells the sender of the command that nothing changes because the program is in that state already.
pub(super) fn refuse_already(state: &str, cx: &mut StepContext<Effect>) {
    refuse(
        Refusal::Already {
            state: state.to_string(),
        },
        cx,
    );
}

/// Tells the sender of the command that something else has to end first.
pub(super) fn refuse_busy(with: &str, cx: &mut StepContext<Effect>) {
    let with = with.to_string();
    refuse(Refusal::Busy { with }, cx);
}

pub(super) fn refuse(refusal: Refusal, cx: &mut StepContext<Effect>) {
    cx.emit(Effect::Refuse { refusal });
}

/// Takes back the open question about the instance that is up.
pub(super) fn cancel_check(ready: &Ready, cx: &mut StepContext<Effect>) {
    if let Some(check) = ready.check {
        cx.emit(Effect::Cancel { op: check.op });
    }
}

pub(super) fn internal(message: String) -> Arc<Cause> {
    Arc::new(Cause::Internal { message })
}

pub(super) fn after(now_ms: u64, wait_ms: u64) -> u64 {
    now_ms.saturating_add(wait_ms)
}

pub(super) fn build_deadline_ms(manifest: &Manifest, now_ms: u64) -> u64 {
    let timeout_ms = manifest.timeouts.build_ms;
    let wait_ms = timeout_ms.saturating_add(BUILD_QUEUE_MS + HANDLER_SLACK_MS);
    after(now_ms, wait_ms)
}

fn start_deadline_ms(manifest: &Manifest, now_ms: u64) -> u64 {
    let timeout_ms = manifest.timeouts.start_ms;
    let wait_ms = timeout_ms.saturating_add(START_QUEUE_MS + HANDLER_SLACK_MS);
    after(now_ms, wait_ms)
}
