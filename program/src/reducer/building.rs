//! Building: first the folders are made, then the image. Both share one deadline.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, STOP, build_deadline_ms, internal, refuse_already};
use crate::{AfterStop, BuildStep, Building, Cause, Effect, Event, ImageId, RevisionNumber, State};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    building: Building,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            refuse_already("building", cx);
            State::Building(building)
        }
        Event::UserStopRequested => stop(facts, &building, cx),
        Event::UserRestartRequested => restart(facts, &building, cx),
        Event::UserRollBackRequested { revision } => roll_back(facts, building, revision, cx),
        Event::UserDeleteRequested => abandon(facts, &building, AfterStop::Remove, cx),
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Building(building)
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => {
            facts.something_runs();
            abandon(facts, &building, AfterStop::Start, cx)
        }
        Event::HostStarted { .. } => {
            let deadline_ms =
                build_deadline_ms(&building.source.manifest, cx.now_ms()).max(building.deadline_ms);
            State::Building(Building {
                deadline_ms,
                ..building
            })
        }
        Event::FoldersEnsured { op, result } if is(&building, op, BuildStep::Folders) => {
            match result {
                Ok(()) => State::Building(facts.build_image(building, cx)),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::BuildFinished { op, result } if is(&building, op, BuildStep::Image) => {
            match result {
                Ok(image) => built(facts, &building, image, cx),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::DeadlinePassed { op } if op == building.op => give_up(facts, &building, cx),
        Event::HandlerPanicked { op, message } if op == building.op => {
            fail(facts, &building, internal(message), cx)
        }
        // Outcomes of other operations are stale. Exits are stale too: no instance of this start exists yet.
        Event::FoldersEnsured { .. }
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
        | Event::HandlerPanicked { .. } => State::Building(building),
    }
}

fn is(building: &Building, op: OpId, step: BuildStep) -> bool {
    building.op == op && building.step == step
}

/// Starts the image with the manifest that was there when this start began.
fn built(
    facts: &mut Facts<'_>,
    building: &Building,
    image: ImageId,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.keep_image(&building.source, &image);
    facts.start(image, &building.source, cx)
}

fn stop(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    facts.stop_rollout(cx.now_ms());
    abandon(facts, building, STOP, cx)
}

fn roll_back(
    facts: &mut Facts<'_>,
    building: Building,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> State {
    match facts.want(revision, cx) {
        true => restart(facts, &building, cx),
        false => State::Building(building),
    }
}

/// Ends a build that is past its deadline.
fn give_up(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    let after_ms = building.source.manifest.timeouts.build_ms;
    let cause = Arc::new(Cause::BuildTimedOut { after_ms });
    let then = facts.after_failure(cause, cx.now_ms());
    abandon(facts, building, then, cx)
}

/// Begins anew with the wanted revision.
fn restart(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    facts.forget_attempts();
    facts.plan_wanted(true, cx.now_ms());
    abandon(facts, building, AfterStop::Start, cx)
}

/// Goes back to the revision that ran before, which may well start where a registry or a disk building the build
/// up. Without one, goes to Error, by the restart policy that was there when this start began.
fn fail(
    facts: &mut Facts<'_>,
    building: &Building,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match facts.fall_back(&cause, cx.now_ms()) {
        true => facts.start_or_build(cx),
        false => facts.fail(cause, building.source.manifest.restart, cx),
    }
}

fn abandon(
    facts: &Facts<'_>,
    building: &Building,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(building.op, None, then, cx)
}
