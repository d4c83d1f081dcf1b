//! The contract between a program and the handler that carries out its effects.

use alloc::{string::String, sync::Arc};
use core::future::Future;

use hersh_machine::{
    OpId,
    driver::{Cancel, Handler, Recovery},
};

use crate::{
    BuildId, BuildRules, Cause, Effect, Event, ImageId, InstanceId, InstanceNumber, InstanceStatus,
    Instances, Lifecycle, Manifest, ProgramId, StartResult,
};

/// One operation that a handler carries out: its id, its program, and whether its outcome is still wanted.
#[derive(Clone, Debug)]
pub struct OperationContext {
    /// The operation.
    pub op: OpId,
    /// The program it is carried out for.
    pub program: ProgramId,
    /// Fires when nobody wants the outcome any more.
    pub cancel: Cancel,
}

impl OperationContext {
    /// Returns the program's instance with this number.
    #[must_use]
    pub fn instance(&self, number: InstanceNumber) -> InstanceId {
        InstanceId {
            program: self.program.clone(),
            number,
        }
    }
}

/// Carries out the effects of programs. One value serves all programs of a host.
///
/// For every method:
/// - It is *idempotent*: after a crash of the host the same operation may be asked again.
/// - Effects of one program never overlap; those of different programs run side by side.
/// - It must not block its thread; blocking work goes to a thread pool.
/// - When `operation.cancel` fires, the method undoes or abandons what it can, makes sure that no part of its
///   work goes on, and returns. Its outcome is discarded, so it may return anything. The program's next
///   effect waits for the return, at most the driver's `cancel_grace`; then the future is dropped.
/// - Where the effect names a time limit, the method enforces it itself, so that the cause can say what was
///   seen last. The program's deadline comes a little later and is only for a handler that hangs.
/// - A panic is an outcome too: a failure with [`Cause::Internal`].
///
/// `ScheduleRetry`, `Cancel` and `Refuse` never get here. The supervisor carries them out: a retry by its
/// timer, a cancellation through its driver, a refusal as the answer to the caller.
pub trait EffectHandler: Send + Sync + 'static {
    /// Makes the program's folders where they are missing and leaves what is in them alone.
    ///
    /// Fails with [`Cause::FoldersFailed`]. When it is cancelled, folders made so far may stay.
    fn ensure_program_folders(
        &self,
        operation: &OperationContext,
    ) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Builds the stored source tree, which must be `build`, within `timeout_ms` milliseconds from the
    /// build's turn on. The build waits for its turn at most [`BUILD_QUEUE_MS`](crate::BUILD_QUEUE_MS). Its
    /// steps reach the internet if `rules` say so, and have no network otherwise. If the tree is unchanged
    /// and its image still exists, the method returns that image at once.
    ///
    /// Fails with [`Cause::BuildFailed`] (also when the stored tree is not `build` any more),
    /// [`Cause::BuildTimedOut`], [`Cause::ContractViolated`] or [`Cause::RuntimeUnavailable`].
    /// When it is cancelled, the build is gone from the engine before the method returns.
    fn build_image(
        &self,
        operation: &OperationContext,
        build: &BuildId,
        rules: &BuildRules,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<ImageId, Cause>> + Send;

    /// Creates `instance` from `image`, verifies it against the contracts, starts it and waits until it is
    /// ready, within `manifest.timeouts.start_ms` from the start's turn on. The start waits for its turn at
    /// most [`START_QUEUE_MS`](crate::START_QUEUE_MS). The remains of an earlier attempt at the same instance
    /// are removed first; other instances go on.
    ///
    /// After a success, the end of the instance is reported as `InstanceEnded`. An end before that is a
    /// failure with the exit and the last lines ([`Cause::Exited`], [`Cause::OutOfMemory`]). Other failures:
    /// [`Cause::StartFailed`], [`Cause::ContractViolated`], [`Cause::NotReadyInTime`],
    /// [`Cause::RuntimeUnavailable`]. When it fails or is cancelled, it may leave parts of the instance
    /// behind: `StopInstances` always follows.
    fn start_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
        image: &ImageId,
        manifest: &Arc<Manifest>,
    ) -> impl Future<Output = Result<StartResult, Cause>> + Send;

    /// Stops and removes instances: waits at most `drain_ms` milliseconds until no request is under way with
    /// them, sends the stop signal, waits at most `grace_ms` milliseconds, then kills. Succeeds when there are
    /// none. Logs are kept. When it is cancelled while it waits for requests, the instances go on.
    ///
    /// Fails with [`Cause::StopFailed`] or [`Cause::RuntimeUnavailable`] when an instance may still run.
    fn stop_instances(
        &self,
        operation: &OperationContext,
        instances: Instances,
        drain_ms: u64,
        grace_ms: u64,
    ) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Returns what the runtime knows of an instance. Changes nothing.
    ///
    /// Fails with [`Cause::RuntimeUnavailable`].
    fn observe_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
    ) -> impl Future<Output = Result<InstanceStatus, Cause>> + Send;

    /// Removes the program's folders and images. Succeeds when there are none. No instance of the program
    /// exists any more when this method is called.
    ///
    /// Fails with [`Cause::RemoveFailed`] or [`Cause::RuntimeUnavailable`].
    fn remove_program(
        &self,
        operation: &OperationContext,
    ) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Returns, after a restart of the host, what became of `effect`, which was issued at `issued_at_ms`
    /// (milliseconds since the Unix epoch) and whose end was never seen. [`Recovery::Rerun`] is always right.
    /// For a start whose container came up meanwhile, the answer may be `InstanceStarted`.
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

/// Adapts an [`EffectHandler`] to the driver: turns effects into method calls and results into events.
#[derive(Debug)]
pub(crate) struct Adapter<H>(pub(crate) Arc<H>);

impl<H: EffectHandler> Handler<Lifecycle> for Adapter<H> {
    async fn run(&self, op: OpId, effect: Effect, cancel: Cancel) -> Option<Event> {
        let operation = |program| OperationContext {
            op,
            program,
            cancel,
        };
        match effect {
            Effect::EnsureProgramFolders { program } => {
                let result = self.0.ensure_program_folders(&operation(program)).await;
                Some(Event::FoldersEnsured { op, result })
            }
            Effect::BuildImage {
                program,
                build,
                network,
                recipe,
                timeout_ms,
            } => {
                let operation = operation(program);
                let rules = BuildRules { network, recipe };
                let built = self.0.build_image(&operation, &build, &rules, timeout_ms);
                let result = built.await;
                Some(Event::BuildFinished { op, result })
            }
            Effect::StartInstance {
                program,
                instance,
                image,
                manifest,
            } => {
                let (handler, operation) = (&self.0, operation(program));
                let started = handler.start_instance(&operation, instance, &image, &manifest);
                Some(match started.await {
                    Ok(started) => Event::InstanceStarted { op, started },
                    Err(cause) => Event::StartFailed { op, cause },
                })
            }
            Effect::StopInstances {
                program,
                instances,
                drain_ms,
                grace_ms,
            } => {
                let (handler, operation) = (&self.0, operation(program));
                let stopped = handler.stop_instances(&operation, instances, drain_ms, grace_ms);
                let result = stopped.await;
                Some(Event::StopFinished { op, result })
            }
            Effect::ObserveInstance { program, instance } => {
                let operation = operation(program);
                let result = self.0.observe_instance(&operation, instance).await;
                Some(Event::InstanceObserved { op, result })
            }
            Effect::RemoveProgram { program } => {
                let result = self.0.remove_program(&operation(program)).await;
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
            | Effect::BuildImage { .. }
            | Effect::StartInstance { .. }
            | Effect::StopInstances { .. }
            | Effect::ObserveInstance { .. }
            | Effect::RemoveProgram { .. } => self.0.recover(op, effect, issued_at_ms).await,
        }
    }

    fn panicked(&self, op: OpId, message: String) -> Event {
        Event::HandlerPanicked { op, message }
    }
}
