//! Stopping: instances are stopped and removed, then the last command is followed. Only the stop's own
//! outcome or deadline ends this state.

use alloc::{format, sync::Arc};

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, already, internal, refuse};
use crate::{
    AfterStop, Cause, Effect, Event, Refusal, RoundedSpan, State, StopStep, Stopped, Stopping,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut held: Stopping,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            if wish(&mut held, AfterStop::Start, cx) {
                facts.forget_attempts();
            }
            State::Stopping(held)
        }
        Event::UserStopRequested => {
            wish(&mut held, AfterStop::Stop { last_exit: None }, cx);
            State::Stopping(held)
        }
        Event::UserDeleteRequested => {
            wish(&mut held, AfterStop::Remove, cx);
            State::Stopping(held)
        }
        Event::SourceReplaced { source } => {
            match held.then {
                AfterStop::Remove => refuse(Refusal::BeingRemoved, cx),
                AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. } => {
                    facts.replace(source)
                }
            }
            State::Stopping(held)
        }
        Event::HostStarted { left_behind, .. } => {
            host_started(facts, held, left_behind.is_some(), cx)
        }
        Event::StopFinished { op, result } if is(&held, op, StopStep::Instances) => match result {
            Ok(()) => next(facts, held.then, cx),
            Err(cause) => not_stopped(facts, held.then, Arc::new(cause), cx),
        },
        Event::Removed { op, result } if is(&held, op, StopStep::Files) => match result {
            Ok(()) => State::Removed,
            Err(cause) => facts.stay_failed(Arc::new(cause)),
        },
        Event::HandlerPanicked { op, message } if op == held.op => {
            not_stopped(facts, held.then, internal(message), cx)
        }
        Event::DeadlinePassed { op } if op == held.op => {
            cx.emit(Effect::Cancel { op });
            let cause = late(facts, held.step);
            not_stopped(facts, held.then, Arc::new(cause), cx)
        }
        // Outcomes of other operations are stale. Exits are expected in this state.
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
        | Event::HandlerPanicked { .. } => State::Stopping(held),
    }
}

/// Counts the deadline anew. If an instance was left behind while files are being removed, stops all
/// instances first: the instance would otherwise go on without its files.
fn host_started(
    facts: &mut Facts<'_>,
    mut held: Stopping,
    is_left_behind: bool,
    cx: &mut StepContext<Effect>,
) -> State {
    if is_left_behind && held.step == StopStep::Files {
        facts.something_runs();
        return facts.abandon(held.op, None, held.then, cx);
    }
    let deadline_ms = facts.stop_deadline_ms(held.step, cx.now_ms());
    held.deadline_ms = held.deadline_ms.max(deadline_ms);
    State::Stopping(held)
}

fn is(held: &Stopping, op: OpId, step: StopStep) -> bool {
    held.op == op && held.step == step
}

/// Replaces the step after the stop. The last command wins, but removal beats all others. Returns false,
/// after a refusal, when nothing changes.
fn wish(held: &mut Stopping, wanted: AfterStop, cx: &mut StepContext<Effect>) -> bool {
    match (&held.then, &wanted) {
        (AfterStop::Remove, AfterStop::Remove) => already("being removed", cx),
        (AfterStop::Remove, AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. }) => {
            refuse(Refusal::BeingRemoved, cx);
        }
        (AfterStop::Stop { .. }, AfterStop::Stop { .. }) => already("stopping", cx),
        (AfterStop::Start, AfterStop::Start) => already("stopping to start again", cx),
        (
            AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. },
            AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. } | AfterStop::Remove,
        ) => {
            held.then = wanted;
            return true;
        }
    }
    false
}

/// Goes on to the next state, now that nothing runs any more.
fn next(facts: &mut Facts<'_>, then: AfterStop, cx: &mut StepContext<Effect>) -> State {
    let policy = facts.policy();
    facts.nothing_runs();
    match then {
        AfterStop::Stop { last_exit } => State::Stopped(Stopped { last_exit }),
        AfterStop::Start => facts.start_or_build(cx),
        AfterStop::Fail { cause } => facts.fail(cause, policy, cx),
        AfterStop::Remove => facts.remove(cx),
    }
}

/// Handles a failed stop: something may still run. A program that was to run, or that failed, is tried again
/// by its policy, and that retry stops it first. A program that was to stop or to be removed waits for a
/// person, because a retry would start it.
fn not_stopped(
    facts: &mut Facts<'_>,
    then: AfterStop,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match then {
        AfterStop::Start => facts.fail(cause, facts.policy(), cx),
        AfterStop::Fail { cause: first } => facts.fail_running(first, cause, cx),
        AfterStop::Stop { .. } | AfterStop::Remove => facts.stay_failed(cause),
    }
}

fn late(facts: &Facts<'_>, step: StopStep) -> Cause {
    let after = RoundedSpan(facts.stop_timeout_ms(step));
    match step {
        StopStep::Instances => Cause::StopFailed {
            message: format!("containers were not removed within {after}"),
        },
        StopStep::Files => Cause::RemoveFailed {
            message: format!("folders and images were not removed within {after}"),
        },
    }
}
