//! The contract between a program and whoever does what it asks.

use alloc::{string::String, sync::Arc};
use core::future::Future;

use hersh_machine::{
    OpId,
    driver::{Cancel, Handler, Recovery},
};

use crate::{
    BuildId, BuildRules, Cause, Effect, Event, ImageId, InstanceId, InstanceNumber, Instances,
    Lifecycle, Manifest, Observed, ProgramId, Started,
};

/// Which operation a handler is carrying out, for whom, and whether it is still wanted.
#[derive(Clone, Debug)]
pub struct Task {
    /// The operation.
    pub op: OpId,
    /// The program it is carried out for.
    pub program: ProgramId,
    /// Fires when nobody wants the outcome any more.
    pub cancel: Cancel,
}

impl Task {
    /// Returns the program's instance with this number.
    #[must_use]
    pub fn instance(&self, number: InstanceNumber) -> InstanceId {
        InstanceId {
            program: self.program.clone(),
            number,
        }
    }
}

/// Does what programs ask for. One value serves all programs of a host.
///
/// For every method:
/// - It is *idempotent*: after a crash of the host the same operation may be asked again.
/// - Effects of one program never overlap; those of different programs run side by side.
/// - It must not block its thread; blocking work goes to a thread pool.
/// - When `task.cancel` fires it undoes or abandons what it can, makes sure that nothing of it
///   goes on, and returns anything: the outcome is discarded. The program's next effect waits
///   for that, at most the driver's `cancel_grace`; then the future is dropped.
/// - It keeps its own time where the effect names one, so that the cause can tell what was seen
///   last. The program's deadline comes a little later and is for a handler that hangs.
/// - A panic is an outcome too: a failure with [`Cause::Internal`].
///
/// `ScheduleRetry`, `Cancel` and `Refuse` never get here: the supervisor's clock, driver and
/// caller take care of them.
pub trait EffectHandler: Send + Sync + 'static {
    /// Makes the program's folders where they are missing and leaves what is in them alone.
    ///
    /// Fails with [`Cause::FoldersFailed`]. Cancelled: folders made so far may stay.
    fn ensure_program_folders(&self, task: &Task)
    -> impl Future<Output = Result<(), Cause>> + Send;

    /// Builds the stored source tree, which must be `build`, within `timeout_ms` milliseconds
    /// from its turn on; it waits for that at most [`BUILD_QUEUE_MS`](crate::BUILD_QUEUE_MS).
    /// Its steps reach the internet if `rules` say so, and nothing otherwise. An unchanged
    /// tree whose image stands is answered with that image at once.
    ///
    /// Fails with [`Cause::BuildFailed`] (also when the stored tree is not `build` any more),
    /// [`Cause::BuildTimedOut`], [`Cause::ContractViolated`] or [`Cause::RuntimeUnavailable`].
    /// Cancelled: the build is gone from the engine before it returns.
    fn build_runtime(
        &self,
        task: &Task,
        build: &BuildId,
        rules: &BuildRules,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<ImageId, Cause>> + Send;

    /// Creates `instance` from `image`, verifies it against the contracts, starts it and waits until it
    /// is ready, within `manifest.timeouts.start_ms` from its turn on; it waits for that at most
    /// [`START_QUEUE_MS`](crate::START_QUEUE_MS). What an earlier attempt at the same instance left is
    /// removed first; other instances go on.
    ///
    /// From its success on, the end of the instance is reported as `RuntimeExited`. An end
    /// before that is a failure with its exit and last lines ([`Cause::Exited`],
    /// [`Cause::OutOfMemory`]). Other failures: [`Cause::StartFailed`],
    /// [`Cause::ContractViolated`], [`Cause::NotReadyInTime`], [`Cause::RuntimeUnavailable`].
    /// Cancelled or failed: it may leave something of the instance behind, `StopRuntime` always follows.
    fn start_runtime(
        &self,
        task: &Task,
        instance: InstanceNumber,
        image: &ImageId,
        manifest: &Arc<Manifest>,
    ) -> impl Future<Output = Result<Started, Cause>> + Send;

    /// Stops and removes instances: signal, `grace_ms` milliseconds, kill. None being there is success.
    /// Logs are kept.
    ///
    /// Fails with [`Cause::StopFailed`] or [`Cause::RuntimeUnavailable`] when something may still
    /// run.
    fn stop_runtime(
        &self,
        task: &Task,
        instances: Instances,
        grace_ms: u64,
    ) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Tells what the runtime knows of an instance. Changes nothing.
    ///
    /// Fails with [`Cause::RuntimeUnavailable`].
    fn fetch_runtime_status(
        &self,
        task: &Task,
        instance: InstanceNumber,
    ) -> impl Future<Output = Result<Observed, Cause>> + Send;

    /// Removes the program's folders and images. None being there is success. No instance of
    /// the program exists any more when this is asked.
    ///
    /// Fails with [`Cause::RemoveFailed`] or [`Cause::RuntimeUnavailable`].
    fn remove_program(&self, task: &Task) -> impl Future<Output = Result<(), Cause>> + Send;

    /// After a restart of the host: what became of `effect`, issued at `issued_at_ms`
    /// (milliseconds since the Unix epoch) and never seen to end. [`Recovery::Rerun`] is always
    /// right; a start whose container came up meanwhile may be answered with `RuntimeStarted`.
    fn recover(
        &self,
        op: OpId,
        effect: &Effect,
        issued_at_ms: u64,
    ) -> impl Future<Output = Recovery<Event>> + Send {
        let _ = (op, effect, issued_at_ms);
        core::future::ready(Recovery::Rerun)
    }
}

/// Gives an [`EffectHandler`] the shape that the driver asks for: effects to calls, results to
/// events.
#[derive(Debug)]
pub(crate) struct Adapter<H>(pub(crate) Arc<H>);

impl<H: EffectHandler> Handler<Lifecycle> for Adapter<H> {
    async fn run(&self, op: OpId, effect: Effect, cancel: Cancel) -> Option<Event> {
        let task = |program| Task {
            op,
            program,
            cancel,
        };
        match effect {
            Effect::EnsureProgramFolders { program } => {
                let result = self.0.ensure_program_folders(&task(program)).await;
                Some(Event::FoldersEnsured { op, result })
            }
            Effect::BuildRuntime {
                program,
                build,
                network,
                recipe,
                timeout_ms,
            } => {
                let task = task(program);
                let rules = BuildRules { network, recipe };
                let built = self.0.build_runtime(&task, &build, &rules, timeout_ms);
                let result = built.await;
                Some(Event::BuildFinished { op, result })
            }
            Effect::StartRuntime {
                program,
                instance,
                image,
                manifest,
            } => {
                let task = task(program);
                let started = self.0.start_runtime(&task, instance, &image, &manifest);
                Some(match started.await {
                    Ok(started) => Event::RuntimeStarted { op, started },
                    Err(cause) => Event::StartFailed { op, cause },
                })
            }
            Effect::StopRuntime {
                program,
                instances,
                grace_ms,
            } => {
                let task = task(program);
                let result = self.0.stop_runtime(&task, instances, grace_ms).await;
                Some(Event::StopFinished { op, result })
            }
            Effect::FetchRuntimeStatus { program, instance } => {
                let task = task(program);
                let result = self.0.fetch_runtime_status(&task, instance).await;
                Some(Event::StatusFetched { op, result })
            }
            Effect::RemoveProgram { program } => {
                let result = self.0.remove_program(&task(program)).await;
                Some(Event::Removed { op, result })
            }
            Effect::ScheduleRetry { .. } | Effect::Cancel { .. } | Effect::Refuse { .. } => None,
        }
    }

    async fn recover(&self, op: OpId, effect: &Effect, issued_at_ms: u64) -> Recovery<Event> {
        match effect {
            Effect::ScheduleRetry { .. } | Effect::Cancel { .. } | Effect::Refuse { .. } => {
                Recovery::Rerun
            }
            Effect::EnsureProgramFolders { .. }
            | Effect::BuildRuntime { .. }
            | Effect::StartRuntime { .. }
            | Effect::StopRuntime { .. }
            | Effect::FetchRuntimeStatus { .. }
            | Effect::RemoveProgram { .. } => self.0.recover(op, effect, issued_at_ms).await,
        }
    }

    fn panicked(&self, op: OpId, message: String) -> Event {
        Event::HandlerPanicked { op, message }
    }
}
