//! Building: first the folders are made, then the image. Both share one deadline.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, STOP, build_deadline_ms, internal, refuse_already};
use crate::{AfterStop, BuildStep, Building, Cause, Effect, Event, ImageId, State};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut building: Building,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            refuse_already("building", cx);
            State::Building(building)
        }
        Event::UserStopRequested => abandon(facts, &building, STOP, cx),
        Event::UserRestartRequested => {
            facts.forget_attempts();
            abandon(facts, &building, AfterStop::Start, cx)
        }
        Event::UserDeleteRequested => abandon(facts, &building, AfterStop::Remove, cx),
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Building(building)
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => {
            facts.something_runs();
            abandon(facts, &building, AfterStop::Start, cx)
        }
        Event::HostStarted { .. } => {
            let deadline_ms = build_deadline_ms(&building.source.manifest, cx.now_ms());
            building.deadline_ms = building.deadline_ms.max(deadline_ms);
            State::Building(building)
        }
        Event::FoldersEnsured { op, result } if is(&building, op, BuildStep::Folders) => {
            match result {
                Ok(()) => facts.build_image(building, cx),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::BuildFinished { op, result } if is(&building, op, BuildStep::Image) => {
            match result {
                Ok(image) => built(facts, &building, image, cx),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::DeadlinePassed { op } if op == building.op => {
            let after_ms = building.source.manifest.timeouts.build_ms;
            let cause = Arc::new(Cause::BuildTimedOut { after_ms });
            abandon(facts, &building, AfterStop::Fail { cause }, cx)
        }
        Event::HandlerPanicked { op, message } if op == building.op => {
            fail(facts, &building, internal(message), cx)
        }
        // Outcomes of other operations are stale. Exits are stale too: no instance of this start exists yet.
        Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
        | Event::InstanceEnded { .. }
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

/// Goes to Error, by the restart policy that was there when this start began.
fn fail(
    facts: &mut Facts<'_>,
    building: &Building,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.fail(cause, building.source.manifest.restart, cx)
}

fn abandon(
    facts: &Facts<'_>,
    building: &Building,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(building.op, None, then, cx)
}
