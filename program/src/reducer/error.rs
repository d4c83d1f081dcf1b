//! Error: the program failed, and waits for its retry or for a person. A command always leads out of this
//! state.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::facts::Facts;
use crate::{AfterStop, Effect, Event, Failed, State};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    held: Failed,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            forget_retry(&held, cx);
            facts.forget_attempts();
            begin(facts, cx)
        }
        Event::UserStopRequested => {
            forget_retry(&held, cx);
            facts.forget_attempts();
            facts.stop(None, AfterStop::Stop { last_exit: None }, cx)
        }
        Event::UserDeleteRequested => {
            forget_retry(&held, cx);
            facts.stop(None, AfterStop::Remove, cx)
        }
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Error(held)
        }
        Event::RetryDue { op } if is(&held, op) => try_again(facts, cx),
        // A panic in the handler of the wait ends the wait too.
        Event::HandlerPanicked { op, .. } if is(&held, op) => try_again(facts, cx),
        Event::HostStarted {
            left_behind: Some(cause),
            ..
        } => {
            facts.something_runs();
            State::Error(Failed {
                not_stopped: Some(Arc::new(cause)),
                ..held
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
        | Event::StopFinished { .. }
        | Event::InstanceObserved { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => State::Error(held),
    }
}

/// Begins a start that a person asked for. Remains of an earlier start are stopped and removed first.
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
    match facts.may_run() {
        true => facts.stop(None, AfterStop::Start, cx),
        false => facts.start_or_build(cx),
    }
}

fn is(held: &Failed, op: OpId) -> bool {
    held.retry.is_some_and(|retry| retry.op == op)
}

fn forget_retry(held: &Failed, cx: &mut StepContext<Effect>) {
    if let Some(retry) = held.retry {
        cx.emit(Effect::Cancel { op: retry.op });
    }
}
