//! An [`EffectHandler`] in memory, scripted from a seed.
//!
//! ```text
//! FakeHandler::instant()               everything succeeds at once, nothing is remembered
//! FakeHandler::scripted(faults, seed)  delays, failures, hangs; and after connect(supervisor),
//!                                      late and duplicated completions
//! ```

use alloc::{format, sync::Arc, vec::Vec};
use core::{future::pending, time::Duration};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hersh_machine::{
    SplitMix64,
    sim::{Faults, World},
};

use crate::{
    BuildId, BuildRules, Cause, Effect, EffectHandler, Event, FakeWorld, ImageId, InstanceNumber,
    InstanceStatus, Instances, Manifest, OperationContext, ProgramId, StartResult, Supervisor,
};

/// Carries out effects in memory.
pub struct FakeHandler {
    script: Option<Mutex<Script>>,
    image: ImageId,
}

struct Script {
    faults: Faults,
    rng: SplitMix64,
    world: FakeWorld,
    supervisors: Vec<(ProgramId, Supervisor)>,
}

impl FakeHandler {
    /// Returns a handler whose effects all succeed at once and that remembers nothing.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            script: None,
            image: ImageId(format!("sha256:{:064x}", 1).into()),
        }
    }

    /// Returns a handler whose effects end as `faults` and `seed` decide, in a world that tests can look at.
    #[must_use]
    pub fn scripted(faults: Faults, seed: u64) -> Self {
        Self {
            script: Some(Mutex::new(Script {
                faults,
                rng: SplitMix64::new(seed),
                world: FakeWorld::default(),
                supervisors: Vec::new(),
            })),
            ..Self::instant()
        }
    }

    /// Sends late and duplicated completions of `program` to `supervisor`.
    pub fn connect(&self, program: ProgramId, supervisor: Supervisor) {
        if let Some(mut script) = self.script() {
            script.supervisors.push((program, supervisor));
        }
    }

    /// Sets the faults of the effects from here on.
    pub fn set_faults(&self, faults: Faults) {
        if let Some(mut script) = self.script() {
            script.faults = faults;
        }
    }

    /// Returns the result of `look` on the world; `None` for an instant handler.
    pub fn with_world<T>(&self, look: impl FnOnce(&mut FakeWorld) -> T) -> Option<T> {
        self.script().map(|mut script| look(&mut script.world))
    }

    fn script(&self) -> Option<MutexGuard<'_, Script>> {
        let script = self.script.as_ref()?;
        Some(script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Carries out `effect` as the script decides. Returns `None` without a script, or when the effect was
    /// cancelled.
    async fn play(&self, operation: &OperationContext, effect: Effect) -> Option<Event> {
        let op = operation.op;
        let (delay, well, hangs) = {
            let mut guard = self.script()?;
            let Script {
                faults, rng, world, ..
            } = &mut *guard;
            world.begin(op, &effect, rng);
            let delay = Duration::from_millis(rng.below(faults.max_delay_ms.saturating_add(1)));
            (delay, !rng.chance(faults.fail), rng.chance(faults.hang))
        };
        let work = async {
            if hangs {
                pending::<()>().await;
            } else if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
        };
        let cancelled = tokio::select! {
            () = work => false,
            () = operation.cancel.cancelled() => true,
        };
        let mut guard = self.script()?;
        let script = &mut *guard;
        if cancelled {
            script.abandon(operation, &effect);
            return None;
        }
        let outcome = script.world.end(op, &effect, well, &mut script.rng);
        if let Some(event) = &outcome
            && script.rng.chance(script.faults.duplicate)
        {
            script.post(&operation.program, event.clone());
        }
        outcome
    }
}

impl Script {
    fn abandon(&mut self, operation: &OperationContext, effect: &Effect) {
        if self.rng.chance(self.faults.late)
            && let Some(event) = self.world.end(operation.op, effect, true, &mut self.rng)
        {
            self.post(&operation.program, event);
        }
        self.world.abandon(operation.op, effect);
    }

    fn post(&mut self, program: &ProgramId, event: Event) {
        let known = self.supervisors.iter().find(|(id, _)| id == program);
        if let Some(supervisor) = known.map(|(_, supervisor)| supervisor.clone()) {
            let delay_ms = self.rng.below(self.faults.max_delay_ms.saturating_add(1));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                // A stopped supervisor or a full queue loses the event, as a broken connection would.
                drop(supervisor.send(event));
            });
        }
    }
}

/// Returns the cause that a method reports when the script cancelled its effect or made its handler panic.
fn unexpected(event: Option<Event>) -> Cause {
    match event {
        Some(Event::HandlerPanicked { message, .. }) => Cause::Internal { message },
        Some(_) | None => Cause::HostRestarted,
    }
}

impl EffectHandler for FakeHandler {
    async fn ensure_program_folders(&self, operation: &OperationContext) -> Result<(), Cause> {
        if self.script.is_none() {
            return Ok(());
        }
        let program = operation.program.clone();
        match self
            .play(operation, Effect::EnsureProgramFolders { program })
            .await
        {
            Some(Event::FoldersEnsured { result, .. }) => result,
            other => Err(unexpected(other)),
        }
    }

    async fn build_image(
        &self,
        operation: &OperationContext,
        build: &BuildId,
        rules: &BuildRules,
        timeout_ms: u64,
    ) -> Result<ImageId, Cause> {
        if self.script.is_none() {
            return Ok(self.image.clone());
        }
        let effect = Effect::BuildImage {
            program: operation.program.clone(),
            build: build.clone(),
            network: rules.network,
            recipe: Arc::clone(&rules.recipe),
            timeout_ms,
        };
        match self.play(operation, effect).await {
            Some(Event::BuildFinished { result, .. }) => result,
            other => Err(unexpected(other)),
        }
    }

    async fn start_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
        image: &ImageId,
        manifest: &Arc<Manifest>,
    ) -> Result<StartResult, Cause> {
        if self.script.is_none() {
            let container = FakeWorld::container_of(&operation.program, operation.op);
            return Ok(StartResult { container });
        }
        let effect = Effect::StartInstance {
            program: operation.program.clone(),
            instance,
            image: image.clone(),
            manifest: Arc::clone(manifest),
        };
        match self.play(operation, effect).await {
            Some(Event::InstanceStarted { started, .. }) => Ok(started),
            Some(Event::StartFailed { cause, .. }) => Err(cause),
            other => Err(unexpected(other)),
        }
    }

    async fn stop_instances(
        &self,
        operation: &OperationContext,
        instances: Instances,
        drain_ms: u64,
        grace_ms: u64,
    ) -> Result<(), Cause> {
        if self.script.is_none() {
            return Ok(());
        }
        let effect = Effect::StopInstances {
            program: operation.program.clone(),
            instances,
            drain_ms,
            grace_ms,
        };
        match self.play(operation, effect).await {
            Some(Event::StopFinished { result, .. }) => result,
            other => Err(unexpected(other)),
        }
    }

    async fn observe_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
    ) -> Result<InstanceStatus, Cause> {
        if self.script.is_none() {
            return Ok(InstanceStatus::Absent);
        }
        let effect = Effect::ObserveInstance {
            program: operation.program.clone(),
            instance,
        };
        match self.play(operation, effect).await {
            Some(Event::InstanceObserved { result, .. }) => result,
            other => Err(unexpected(other)),
        }
    }

    async fn remove_program(&self, operation: &OperationContext) -> Result<(), Cause> {
        if self.script.is_none() {
            return Ok(());
        }
        let program = operation.program.clone();
        match self
            .play(operation, Effect::RemoveProgram { program })
            .await
        {
            Some(Event::Removed { result, .. }) => result,
            other => Err(unexpected(other)),
        }
    }
}
