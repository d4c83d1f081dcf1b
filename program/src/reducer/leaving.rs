//! Instances that are stopped while another one is up, and the end of the rollouts that they were of.
//!
//! ```text
//! a rollout fails or is given up ─► its instance leaves at once
//! a rollout comes up             ─► the instance before leaves when its requests have ended
//! ```

use alloc::{boxed::Box, sync::Arc};

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, STOP_SLACK_MS, after};
use crate::{
    Cause, ContainerId, Effect, InstanceNumber, Instances, LeavingInstance, Manifest, Ready,
    Rollout, RolloutOutcome, RolloutStep,
};

/// Takes the rollout off the program, and cancels its operation.
pub(super) fn take(ready: &mut Ready, cx: &mut StepContext<Effect>) -> Option<Rollout> {
    let op = ready.rollout.as_ref()?.step.op();
    cx.emit(Effect::Cancel { op });
    ready.rollout.take().map(|rollout| *rollout)
}

/// Takes the rollout off the program before all of its instances are stopped. An instance that was brought up is
/// stopped with them, and the stop cancels its start.
pub(super) fn take_before_stop(ready: &mut Ready, cx: &mut StepContext<Effect>) -> Option<Rollout> {
    let rollout = *ready.rollout.take()?;
    match &rollout.step {
        RolloutStep::Building(building) => {
            cx.emit(Effect::Cancel { op: building.op });
        }
        RolloutStep::Starting { source, starting } => {
            ready.leaving = Some(Box::new(LeavingInstance {
                instance: starting.instance,
                container: None,
                op: starting.op,
                deadline_ms: starting.deadline_ms,
                manifest: Arc::clone(&source.manifest),
            }));
        }
    }
    Some(rollout)
}

/// Ends the rollout, of which an instance leaves. The instance that is up was never touched.
pub(super) fn fail(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) {
    if let Some(rollout) = ready.rollout.take() {
        dismiss(facts, ready, &rollout, cx);
        let outcome = RolloutOutcome::Failed { cause };
        facts.end_rollout(rollout.revision, outcome, cx.now_ms());
    }
}

/// Stops the instance of a rollout that has ended, if there is one.
pub(super) fn dismiss(
    facts: &Facts<'_>,
    ready: &mut Ready,
    rollout: &Rollout,
    cx: &mut StepContext<Effect>,
) {
    match &rollout.step {
        RolloutStep::Building(_) => {}
        RolloutStep::Starting { source, starting } => {
            let manifest = Arc::clone(&source.manifest);
            let instance = (starting.instance, None, manifest);
            ready.leaving = Some(leave(facts, instance, 0, cx));
        }
    }
}

/// Stops one instance: waits for its requests at first, then gives it its grace.
pub(super) fn leave(
    facts: &Facts<'_>,
    (instance, container, manifest): (InstanceNumber, Option<ContainerId>, Arc<Manifest>),
    drain_ms: u64,
    cx: &mut StepContext<Effect>,
) -> Box<LeavingInstance> {
    let grace_ms = manifest.timeouts.stop_grace_ms;
    let op = cx.emit(Effect::StopInstances {
        program: facts.program(),
        instances: Instances::One(instance),
        drain_ms,
        grace_ms,
    });
    let wait_ms = drain_ms.saturating_add(grace_ms);
    Box::new(LeavingInstance {
        instance,
        container,
        op,
        deadline_ms: after(cx.now_ms(), wait_ms.saturating_add(STOP_SLACK_MS)),
        manifest,
    })
}

/// Asks again for the stop of the instance that is leaving. Its requests are not waited for any more.
pub(super) fn stop_again(facts: &Facts<'_>, ready: &mut Ready, cx: &mut StepContext<Effect>) {
    let Some(leaving) = ready.leaving.take() else {
        return;
    };
    cx.emit(Effect::Cancel { op: leaving.op });
    let instance = (leaving.instance, leaving.container, leaving.manifest);
    ready.leaving = Some(leave(facts, instance, 0, cx));
}

/// Returns whether an operation is the stop of the instance that leaves.
pub(super) fn leaves(ready: &Ready, op: OpId) -> bool {
    ready
        .leaving
        .as_ref()
        .is_some_and(|leaving| leaving.op == op)
}
