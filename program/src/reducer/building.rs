//! Building: first the folders are made, then the image. Both share one deadline.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, already, build_deadline_ms, internal};
use crate::{AfterStop, BuildStep, Building, Cause, Effect, Event, ImageId, State};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    held: Building,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            already("building", cx);
            State::Building(held)
        }
        Event::UserStopRequested => abandon(facts, &held, AfterStop::Stop { last_exit: None }, cx),
        Event::UserRestartRequested => {
            facts.forget_attempts();
            abandon(facts, &held, AfterStop::Start, cx)
        }
        Event::UserDeleteRequested => abandon(facts, &held, AfterStop::Remove, cx),
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Building(held)
        }
        Event::HostStarted {
            left_behind: Some(_),
            ..
        } => {
            facts.something_runs();
            abandon(facts, &held, AfterStop::Start, cx)
        }
        Event::HostStarted { .. } => {
            let deadline_ms =
                build_deadline_ms(&held.source.manifest, cx.now_ms()).max(held.deadline_ms);
            State::Building(Building {
                deadline_ms,
                ..held
            })
        }
        Event::FoldersEnsured { op, result } if is(&held, op, BuildStep::Folders) => match result {
            Ok(()) => facts.build_image(held, cx),
            Err(cause) => fail(facts, &held, Arc::new(cause), cx),
        },
        Event::BuildFinished { op, result } if is(&held, op, BuildStep::Image) => match result {
            Ok(image) => built(facts, &held, image, cx),
            Err(cause) => fail(facts, &held, Arc::new(cause), cx),
        },
        Event::DeadlinePassed { op } if op == held.op => {
            let after_ms = held.source.manifest.timeouts.build_ms;
            let cause = Arc::new(Cause::BuildTimedOut { after_ms });
            abandon(facts, &held, AfterStop::Fail { cause }, cx)
        }
        Event::HandlerPanicked { op, message } if op == held.op => {
            fail(facts, &held, internal(message), cx)
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
        | Event::HandlerPanicked { .. } => State::Building(held),
    }
}

fn is(held: &Building, op: OpId, step: BuildStep) -> bool {
    held.op == op && held.step == step
}

/// Starts the image with the manifest that was there when this start began.
fn built(
    facts: &mut Facts<'_>,
    held: &Building,
    image: ImageId,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.keep_image(&held.source, &image);
    facts.start(image, &held.source, cx)
}

/// Goes to Error, by the restart policy that was there when this start began.
fn fail(
    facts: &mut Facts<'_>,
    held: &Building,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.fail(cause, held.source.manifest.restart, cx)
}

fn abandon(
    facts: &Facts<'_>,
    held: &Building,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(held.op, None, then, cx)
}
