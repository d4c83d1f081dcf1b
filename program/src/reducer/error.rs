//! Error: the program failed, and waits for its retry or for a person. A command always leads out of this
//! state.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::{
    at_rest,
    facts::{Facts, STOP, refuse_busy},
};
use crate::{AfterStop, Effect, Event, Failed, Rest, State};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    failed: Failed,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => start(facts, &failed, cx),
        Event::UserRollBackRequested { revision } => match facts.want(revision, cx) {
            true => start(facts, &failed, cx),
            false => State::Error(failed),
        },
        Event::UserStopRequested => {
            cancel_retry(&failed, cx);
            facts.forget_attempts();
            facts.stop_rollout(cx.now_ms());
            facts.stop(None, STOP, cx)
        }
        Event::UserBuildRequested => build_only(facts, failed, cx),
        Event::UserDeleteRequested => {
            cancel_retry(&failed, cx);
            facts.stop(None, AfterStop::Remove, cx)
        }
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Error(failed)
        }
        Event::RetryDue { op } if is(&failed, op) => try_again(facts, cx),
        // A panic in the handler of the wait ends the wait too.
        Event::HandlerPanicked { op, .. } if is(&failed, op) => try_again(facts, cx),
        Event::HostStarted {
            orphan: Some(cause),
            ..
        } => {
            facts.something_runs();
            State::Error(Failed {
                not_stopped: Some(Arc::new(cause)),
                ..failed
            })
        }
        // Only a retry is under way, so all other outcomes are late reports of earlier operations and
        // instances. A retry keeps its due time over a restart of the host.
        Event::HostStarted { .. }
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
        | Event::HandlerPanicked { .. } => State::Error(failed),
    }
}

/// Builds the wanted revision of a program that waits for a person.
fn build_only(facts: &Facts<'_>, failed: Failed, cx: &mut StepContext<Effect>) -> State {
    // A retry may come at any moment, and would have to wait for the build.
    if failed.retry.is_some() {
        refuse_busy("waiting for its next try", cx);
        return State::Error(failed);
    }
    if facts.may_run() {
        refuse_busy("perhaps still running, after a stop that failed", cx);
        return State::Error(failed);
    }
    at_rest::build_only(facts, Rest::Failed(failed), cx)
}

/// Begins a start that a person asked for. A program that would have been tried again goes back to what it was
/// if the start of another revision fails.
fn start(facts: &mut Facts<'_>, failed: &Failed, cx: &mut StepContext<Effect>) -> State {
    cancel_retry(failed, cx);
    facts.forget_attempts();
    facts.plan_wanted(failed.retry.is_some(), cx.now_ms());
    begin(facts, cx)
}

/// Begins the planned start. Remains of an earlier start are stopped and removed first.
fn begin(facts: &mut Facts<'_>, cx: &mut StepContext<Effect>) -> State {
    if !facts.may_run() {
        return facts.build(cx);
    }
    // Without an image, the start goes on with a build after the stop. The build finds the image if it still
    // exists.
    facts.forget_image();
    facts.stop(None, AfterStop::Start, cx)
}

/// Begins a retry. Remains of an earlier start are stopped and removed first.
fn try_again(facts: &mut Facts<'_>, cx: &mut StepContext<Effect>) -> State {
    facts.count_restart(cx.now_ms());
    match facts.may_run() {
        true => facts.stop(None, AfterStop::Start, cx),
        false => facts.start_or_build(cx),
    }
}

fn is(failed: &Failed, op: OpId) -> bool {
    failed.retry.is_some_and(|retry| retry.op == op)
}

fn cancel_retry(failed: &Failed, cx: &mut StepContext<Effect>) {
    if let Some(retry) = failed.retry {
        cx.emit(Effect::Cancel { op: retry.op });
    }
}
