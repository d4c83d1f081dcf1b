//! The next revision of a program that is up, while it is built beside the instance.
//!
//! ```text
//! begin ─► folders ─► image ─► the instance is stopped, and the revision started in its place
//!              └─ fails ─► the instance goes on; it was never touched
//! ```

use alloc::{boxed::Box, sync::Arc};

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, internal, refuse_already};
use crate::{
    AfterStop, BuildStep, Cause, Effect, Event, ImageId, Ready, RevisionNumber, Rollout,
    RolloutOutcome, State,
};

/// Begins to build a revision. Does nothing if it is being built already; one that is under way gives way.
pub(super) fn begin(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> Ready {
    if ready
        .rollout
        .as_ref()
        .is_some_and(|it| it.revision == revision)
    {
        refuse_already("building this revision", cx);
        return ready;
    }
    let by = revision;
    end(facts, &mut ready, RolloutOutcome::Superseded { by }, cx);
    let rollout = facts.source_of(revision).map(|source| {
        Box::new(Rollout {
            revision,
            building: facts.begin_build(source, cx),
        })
    });
    Ready { rollout, ..ready }
}

/// Goes back to another revision. If that is the one that runs, only ends what is under way.
pub(super) fn roll_back(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> Ready {
    let was_wanted = facts.wanted() == Some(revision);
    if !facts.want(revision, cx) {
        return ready;
    }
    if facts.other_revision().is_some() {
        facts.forget_attempts();
        return begin(facts, ready, revision, cx);
    }
    if was_wanted && ready.rollout.is_none() {
        refuse_already("running this revision", cx);
    }
    let by = revision;
    end(facts, &mut ready, RolloutOutcome::Superseded { by }, cx);
    ready
}

/// Takes in an outcome. It counts only if it is of the build that is under way.
pub(super) fn outcome(
    facts: &mut Facts<'_>,
    ready: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::FoldersEnsured { op, result } if is(&ready, op, BuildStep::Folders) => {
            folders_ensured(facts, ready, result, cx)
        }
        Event::BuildFinished { op, result } if is(&ready, op, BuildStep::Image) => {
            built(facts, ready, result, cx)
        }
        Event::DeadlinePassed { op } if operation(&ready) == Some(op) => {
            cx.emit(Effect::Cancel { op });
            let cause = late(&ready);
            fail(facts, ready, Arc::new(cause), cx)
        }
        Event::HandlerPanicked { op, message } if operation(&ready) == Some(op) => {
            fail(facts, ready, internal(message), cx)
        }
        Event::UserStartRequested
        | Event::UserStopRequested
        | Event::UserRestartRequested
        | Event::UserDeleteRequested
        | Event::UserRollBackRequested { .. }
        | Event::SourceReplaced { .. }
        | Event::HostStarted { .. }
        | Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
        | Event::InstanceEnded { .. }
        | Event::InstanceNotAlive { .. }
        | Event::InstanceAlive { .. }
        | Event::InstanceSettled { .. }
        | Event::StopFinished { .. }
        | Event::InstanceObserved { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => State::Ready(ready),
    }
}

/// Ends what is under way because of a command. Does nothing if nothing is.
pub(super) fn end(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    outcome: RolloutOutcome,
    cx: &mut StepContext<Effect>,
) {
    if let Some(revision) = cancel(ready, cx) {
        facts.end_rollout(revision, outcome, cx.now_ms());
    }
}

/// Lets the rollout go on after the stop of the instance, without an instance meanwhile. Returns false if none
/// is under way.
pub(super) fn go_on_after_stop(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    cx: &mut StepContext<Effect>,
) -> bool {
    let revision = cancel(ready, cx);
    if let Some(revision) = revision {
        facts.plan_rollout(revision, cx.now_ms());
    }
    revision.is_some()
}

/// Cancels the build that is under way, and returns its revision.
pub(super) fn cancel(ready: &mut Ready, cx: &mut StepContext<Effect>) -> Option<RevisionNumber> {
    let rollout = ready.rollout.take()?;
    let op = rollout.building.op;
    cx.emit(Effect::Cancel { op });
    Some(rollout.revision)
}

fn folders_ensured(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<(), Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match (result, ready.rollout.take()) {
        (Ok(()), Some(rollout)) => {
            let Rollout { revision, building } = *rollout;
            let building = facts.build_image(building, cx);
            let rollout = Some(Box::new(Rollout { revision, building }));
            State::Ready(Ready { rollout, ..ready })
        }
        (Ok(()), None) => State::Ready(ready),
        (Err(cause), rollout) => {
            let ready = Ready { rollout, ..ready };
            fail(facts, ready, Arc::new(cause), cx)
        }
    }
}

/// Replaces the instance by one of the revision whose image is built.
fn built(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<ImageId, Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    let image = match result {
        Ok(image) => image,
        Err(cause) => return fail(facts, ready, Arc::new(cause), cx),
    };
    let Some(rollout) = ready.rollout.take() else {
        return State::Ready(ready);
    };
    facts.keep_image(&rollout.building.source, &image);
    facts.plan_rollout(rollout.revision, cx.now_ms());
    facts.stop_ready(&ready, AfterStop::Start, cx)
}

/// Ends the rollout. The instance was never touched.
fn fail(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    cause: Arc<Cause>,
    cx: &StepContext<Effect>,
) -> State {
    if let Some(rollout) = ready.rollout.take() {
        let outcome = RolloutOutcome::Failed { cause };
        facts.end_rollout(rollout.revision, outcome, cx.now_ms());
    }
    State::Ready(ready)
}

fn late(ready: &Ready) -> Cause {
    let building = ready.rollout.as_ref().map(|rollout| &rollout.building);
    let after_ms = building.map_or(0, |it| it.source.manifest.timeouts.build_ms);
    Cause::BuildTimedOut { after_ms }
}

fn operation(ready: &Ready) -> Option<OpId> {
    Some(ready.rollout.as_ref()?.building.op)
}

fn is(ready: &Ready, op: OpId, step: BuildStep) -> bool {
    ready
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.building.op == op && rollout.building.step == step)
}
