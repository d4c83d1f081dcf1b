//! Carries out the effects that programs ask for and returns their outcomes. Nothing is decided here.
//!
//! ```text
//! StartInstance ─► Spec ─► runtime.start (contracts, gVisor) ─► receipt ─► ready?
//! ```

mod address_advice;
pub(crate) mod builds;
mod causes;
pub(crate) mod drain;
pub(crate) mod last_lines;
pub(crate) mod noted_end;
pub(crate) mod probes;
mod readiness;

use std::{sync::Arc, time::Duration};

use hersh_base::{
    sandbox::StateUsage,
    surroundings::Surroundings,
    turns::{Owner, Turn, TurnQueue},
};
use hersh_program::{
    BuildId, BuildRules, Cause, EffectHandler, ImageId, InstanceId, InstanceNumber, InstanceStatus,
    Instances, Manifest, OperationContext, ProgramId, Readiness, START_QUEUE_MS, StartResult,
};
use hersh_proxy::ProbeFailure;
use hersh_storage::{StateWriterError, Storage, StorageError, output::LogStore};
use tokio::{sync::mpsc, time::Instant};

use self::{
    builds::Builds,
    causes::{StorageFailure, start_error_cause, start_failed_cause, storage_cause},
    drain::Drain,
    last_lines::last_lines,
    noted_end::noted_end,
    probes::Probes,
    readiness::NotReady,
};
use crate::programs::{LOOK_INTERVAL, StateReadings};
use hersh_sandbox::{RunningInstance, Runtime, Spec, Unavailable};

/// The most starts of one owner at once: a program can make its own start slow and hold up all others.
pub(crate) const STARTS_AT_ONCE_PER_OWNER: usize = 2;
/// The most `/state` folders that are measured at once before a start, each on a thread of its own. More may be
/// measured than started at once, since a program can make its own measurement slow by what it wrote. One
/// owner may have [`STARTS_AT_ONCE_PER_OWNER`] of them.
pub(crate) const MEASURES_AT_ONCE: usize = 32;
/// Starts that wait at once, one for each program at most. One more is refused.
pub(crate) const STARTS_WAITING_MAX: usize = 10_000;

/// The multiple of its limit up to which an oversized `/state` is counted, so that the error can say its size.
const STATE_COUNT_FACTOR: u64 = 64;

/// The real effect handler.
pub(crate) struct Effects {
    pub(crate) storage: Storage,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The output of programs.
    pub(crate) output: LogStore,
    pub(crate) surroundings: Surroundings,
    pub(crate) builds: Builds,
    /// The turns for measuring `/state`, which a program waits for before its turn to start.
    pub(crate) measures: TurnQueue,
    pub(crate) starts: TurnQueue,
    /// Returns the owner against whose limit a program's start counts.
    pub(crate) start_owner: Box<dyn Fn(&ProgramId) -> Owner + Send + Sync>,
    /// Lets the requests under way with an instance end that leaves its program.
    pub(crate) drain: Drain,
    pub(crate) probes: Probes,
    /// The queue of programs whose files are gone. The host forgets each once its removal is in the journal.
    pub(crate) removed: mpsc::Sender<ProgramId>,
}

impl EffectHandler for Effects {
    async fn ensure_program_folders(&self, operation: &OperationContext) -> Result<(), Cause> {
        let id = operation.program.clone();
        let ensured = self.on_storage(move |storage| storage.ensure_folders(&id).map(drop));
        ensured.await.map_err(|error| match error {
            StorageFailure::DiskFull(message) => Cause::DiskFull { message },
            StorageFailure::Other(message) => Cause::FoldersFailed { message },
        })
    }

    async fn build_image(
        &self,
        operation: &OperationContext,
        build: &BuildId,
        rules: &BuildRules,
        timeout_ms: u64,
    ) -> Result<ImageId, Cause> {
        let timeout = Duration::from_millis(timeout_ms);
        self.builds.image(operation, build, rules, timeout).await
    }

    async fn start_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
        image: &ImageId,
        manifest: &Arc<Manifest>,
    ) -> Result<StartResult, Cause> {
        let instance = operation.instance(instance);
        let spec = self.spec(&instance, image, manifest);
        if manifest.deploy.keeps_state() {
            self.give_state(&instance).await?;
        }
        self.forget_end(&operation.program).await?;
        let turn = self
            .turn_to_start(operation, kept_state_bytes(manifest))
            .await?;
        let began = Instant::now();
        // A cancelled start is dropped here: the stop that follows waits until what was begun has ended.
        let running = tokio::select! {
            biased;
            running = self.runtime.start_with_permit(spec, Box::new(turn)) => running.map_err(|error| start_error_cause(error, manifest))?,
            cause = self.state_too_large(&operation.program, kept_state_bytes(manifest)) => return Err(cause),
            () = operation.cancel.cancelled() => return Err(Cause::HostRestarted),
        };
        let ready = self.wait_until_ready(operation, &instance, &running, manifest, began);
        if manifest.deploy.keeps_state() {
            tokio::try_join!(self.write_receipt(&running, manifest), ready)?;
        } else {
            // Until then, the receipt of the instance that is up is the one to show.
            ready.await?;
            self.write_receipt(&running, manifest).await?;
        }
        self.check_running(&instance, &manifest.readiness).await?;
        Ok(StartResult {
            container: running.container,
        })
    }

    async fn stop_instances(
        &self,
        operation: &OperationContext,
        instances: Instances,
        drain_ms: u64,
        grace_ms: u64,
    ) -> Result<(), Cause> {
        drain::wait(&self.drain, operation, instances, drain_ms).await?;
        let grace = Duration::from_millis(grace_ms);
        Ok(self
            .runtime
            .stop(&operation.program, instances, grace)
            .await?)
    }

    async fn observe_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
    ) -> Result<InstanceStatus, Cause> {
        let observed = self.runtime.observe(&operation.instance(instance)).await?;
        if matches!(observed, InstanceStatus::Running(_)) {
            return Ok(observed);
        }
        let (storage, id) = (self.storage.clone(), operation.program.clone());
        let noted = self.surroundings.blocking(move || noted_end(&storage, &id));
        let noted = noted.await.ok().flatten();
        Ok(noted.map_or(observed, |(container, exit)| {
            InstanceStatus::Exited(container, exit)
        }))
    }

    async fn remove_program(&self, operation: &OperationContext) -> Result<(), Cause> {
        self.builds.builder.forget(&operation.program).await?;
        let id = operation.program.clone();
        self.on_storage(move |storage| storage.remove(&id))
            .await
            .map_err(|error| Cause::RemoveFailed {
                message: error.message(),
            })?;
        // The receiver is gone only while the host ends; the host's next start then finishes the removal.
        let _ = self.removed.send(operation.program.clone()).await;
        Ok(())
    }
}

impl Effects {
    fn spec(&self, instance: &InstanceId, image: &ImageId, manifest: &Manifest) -> Spec {
        Spec::new(instance, image, manifest, self.runtime.kernel())
    }

    /// Fails if the program's `/state` is over its limit, then waits for its turn to start. Measures
    /// first: a slow measurement would otherwise hold a turn that another program could use.
    async fn turn_to_start(
        &self,
        operation: &OperationContext,
        kept_bytes: Option<u64>,
    ) -> Result<Turn, Cause> {
        let owner = (self.start_owner)(&operation.program);
        let waited = Duration::from_millis(START_QUEUE_MS);
        let turn = async {
            if let Some(limit_bytes) = kept_bytes {
                let measuring = self.measures.turn(owner.clone(), |_first| ()).await;
                let measuring = measuring.map_err(|error| start_failed_cause(error.to_string()))?;
                self.check_state_size(&operation.program, limit_bytes, measuring)
                    .await?;
            }
            let turn = self.starts.turn(owner, |_first| ()).await;
            turn.map_err(|error| start_failed_cause(error.to_string()))
        };
        tokio::select! {
            biased;
            turn = turn => turn,
            () = operation.cancel.cancelled() => Err(Cause::HostRestarted),
            () = tokio::time::sleep(waited) => Err(start_failed_cause(format!(
                "no start could begin within {} minutes, since too many were under way; try again later",
                waited.as_secs() / 60
            ))),
        }
    }

    /// Makes `instance` the one that may write to the program's `/state`. A start that comes after a newer one
    /// fails here.
    async fn give_state(&self, instance: &InstanceId) -> Result<(), Cause> {
        let (storage, id) = (self.storage.clone(), instance.clone());
        let given = self.surroundings.blocking(move || storage.give_state(&id));
        match given.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StateWriterError::Storage(error))) => Err(storage_cause(error.into())),
            Ok(Err(error @ StateWriterError::Older { .. })) => {
                Err(start_failed_cause(error.to_string()))
            }
            Err(error) => Err(start_failed_cause(error.to_string())),
        }
    }

    /// Removes the note on an earlier container's end, which says nothing of the next container.
    async fn forget_end(&self, program: &ProgramId) -> Result<(), Cause> {
        let id = program.clone();
        let forgotten = self.on_storage(move |storage| storage.forget_end(&id));
        forgotten.await.map_err(storage_cause)
    }

    async fn write_receipt(
        &self,
        running: &RunningInstance,
        manifest: &Manifest,
    ) -> Result<(), Cause> {
        let mut receipt = running.receipt.clone();
        let keeps_state = manifest.deploy.keeps_state();
        let write = move |storage: &Storage| {
            receipt.state = keeps_state.then(|| storage.state_bound(&receipt.program));
            storage.write_receipt(&receipt.program, &receipt)
        };
        self.on_storage(write).await.map_err(storage_cause)
    }

    /// Probes until the program is up, its container ends, its time is over, its `/state` is too large, or
    /// the start is cancelled.
    async fn wait_until_ready(
        &self,
        operation: &OperationContext,
        instance: &InstanceId,
        running: &RunningInstance,
        manifest: &Manifest,
        began: Instant,
    ) -> Result<(), Cause> {
        let limit = Duration::from_millis(manifest.timeouts.start_ms);
        let left = limit.saturating_sub(began.elapsed());
        if !self.runtime.has_sockets() {
            return Ok(());
        }
        let seen = self.probes.begin(&operation.program);
        let saw = |what: &str| seen.saw(what);
        let probing = readiness::wait(&operation.program, manifest, &running.endpoint, left, saw);
        tokio::select! {
            biased;
            ready = probing => match ready {
                Ok(()) => Ok(()),
                Err(NotReady { last_probe }) => Err(Cause::NotReadyInTime {
                    after_ms: manifest.timeouts.start_ms,
                    last_probe: self.last_probe_text(instance, manifest, &last_probe).await,
                    logs: last_lines(&self.output, &self.surroundings, &operation.program).await,
                }),
            },
            cause = self.end_before_ready(instance, &manifest.readiness) => Err(cause),
            cause = self.state_too_large(&operation.program, kept_state_bytes(manifest)) => Err(cause),
            // The outcome of a cancelled start is discarded; what it started is stopped next.
            () = operation.cancel.cancelled() => Err(Cause::HostRestarted),
        }
    }

    /// Returns what the last probe saw, and where the program listens instead.
    async fn last_probe_text(
        &self,
        instance: &InstanceId,
        manifest: &Manifest,
        last_probe: &ProbeFailure,
    ) -> String {
        let seen = last_probe.words();
        match last_probe {
            ProbeFailure::NoListener(_) => {
                let listeners = self.runtime.listeners(instance).await;
                let advice = address_advice::advice(manifest.readiness.port(), &listeners);
                format!("{seen}; {advice}")
            }
            ProbeFailure::Unreached(_)
            | ProbeFailure::UnknownPath(_)
            | ProbeFailure::Unready(_) => seen.to_owned(),
        }
    }

    /// Waits for the end of the instance, and returns the cause for which its start failed.
    async fn end_before_ready(&self, instance: &InstanceId, readiness: &Readiness) -> Cause {
        let began = Instant::now();
        loop {
            tokio::time::sleep(readiness::observe_interval(began.elapsed())).await;
            if let Err(cause) = self.check_running(instance, readiness).await {
                return cause;
            }
        }
    }

    /// Refuses a program whose `/state` is over its limit: otherwise each start would let it write more for a
    /// while.
    async fn check_state_size(
        &self,
        program: &ProgramId,
        limit_bytes: u64,
        turn: Turn,
    ) -> Result<(), Cause> {
        // Counted further than the limit, so that the error can tell how much there is.
        let enough = limit_bytes.saturating_mul(STATE_COUNT_FACTOR);
        match self.state_usage(program, enough, Some(turn)).await? {
            StateUsage::Bytes(used) if used <= limit_bytes => Ok(()),
            StateUsage::Bytes(used) => Err(Cause::StateTooLarge {
                used_bytes: used.min(enough),
                limit_bytes,
            }),
            StateUsage::Unsettled => Err(start_failed_cause(
                "its /state keeps changing although it does not run; find out what on this machine writes there"
                    .to_owned(),
            )),
        }
    }

    /// Waits until the program's `/state` is over its limit. The watch over running programs begins only when
    /// they are ready.
    async fn state_too_large(&self, program: &ProgramId, kept_bytes: Option<u64>) -> Cause {
        let Some(limit_bytes) = kept_bytes else {
            return std::future::pending().await;
        };
        let readings = StateReadings::default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Ok(usage) = self.state_usage(program, limit_bytes, None).await
                && readings.take(usage, limit_bytes)
            {
                return Cause::StateQuotaExceeded;
            }
        }
    }

    /// Measures a `/state`. The measuring thread holds the turn, for it goes on when the caller is cancelled:
    /// a turn released earlier would let too many threads measure at once.
    async fn state_usage(
        &self,
        program: &ProgramId,
        enough: u64,
        turn: Option<Turn>,
    ) -> Result<StateUsage, Cause> {
        let measured = self.runtime.state_bytes(program, enough, Box::new(turn));
        let failed = |error: Unavailable| start_failed_cause(error.to_string());
        measured.await.map_err(failed)
    }

    async fn check_running(
        &self,
        instance: &InstanceId,
        readiness: &Readiness,
    ) -> Result<(), Cause> {
        match self.runtime.observe(instance).await? {
            InstanceStatus::Running(_) => Ok(()),
            InstanceStatus::Exited(_, exit) => Err(Cause::before_ready(&exit, readiness)),
            InstanceStatus::Absent => Err(Cause::Vanished),
        }
    }

    async fn on_storage(
        &self,
        work: impl FnOnce(&Storage) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<(), StorageFailure> {
        let storage = self.storage.clone();
        match self.surroundings.blocking(move || work(&storage)).await {
            Ok(outcome) => outcome.map_err(StorageFailure::from),
            Err(error) => Err(StorageFailure::Other(error.to_string())),
        }
    }
}

/// Returns the bound on what the program keeps in `/state`, bytes; `None` if its `/state` is in memory, where the
/// bound of its folders in memory holds.
fn kept_state_bytes(manifest: &Manifest) -> Option<u64> {
    let keeps_state = manifest.deploy.keeps_state();
    keeps_state.then_some(manifest.limits.state_bytes)
}
