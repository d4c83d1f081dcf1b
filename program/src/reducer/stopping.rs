//! Stopping: instances are stopped and removed, then the last command is followed. Only the stop's own
//! outcome or deadline ends this state.

use alloc::{format, sync::Arc};

use hersh_machine::{Cx, OpId};

use super::facts::{Facts, already, internal, refuse};
use crate::{Cause, Effect, Event, Lasting, Refusal, State, StopStep, Stopped, Stopping, Then};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut held: Stopping,
    event: Event,
    cx: &mut Cx<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            if wish(&mut held, Then::Start, cx) {
                facts.forget_attempts();
            }
            State::Stopping(held)
        }
        Event::UserStopRequested => {
            wish(&mut held, Then::Stop { last_exit: None }, cx);
            State::Stopping(held)
        }
        Event::UserDeleteRequested => {
            wish(&mut held, Then::Remove, cx);
            State::Stopping(held)
        }
        Event::SourceReplaced { source } => {
            match held.then {
                Then::Remove => refuse(Refusal::BeingRemoved, cx),
                Then::Stop { .. } | Then::Start | Then::Fail { .. } => facts.replace(source),
            }
            State::Stopping(held)
        }
        Event::HostStarted { left_behind, .. } => {
            host_started(facts, held, left_behind.is_some(), cx)
        }
        Event::StopFinished { op, result } if is(&held, op, StopStep::Containers) => match result {
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
        | Event::RuntimeStarted { .. }
        | Event::StartFailed { .. }
        | Event::RuntimeExited { .. }
        | Event::StopFinished { .. }
        | Event::StatusFetched { .. }
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
    cx: &mut Cx<Effect>,
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
fn wish(held: &mut Stopping, wanted: Then, cx: &mut Cx<Effect>) -> bool {
    match (&held.then, &wanted) {
        (Then::Remove, Then::Remove) => already("being removed", cx),
        (Then::Remove, Then::Stop { .. } | Then::Start | Then::Fail { .. }) => {
            refuse(Refusal::BeingRemoved, cx);
        }
        (Then::Stop { .. }, Then::Stop { .. }) => already("stopping", cx),
        (Then::Start, Then::Start) => already("stopping to start again", cx),
        (
            Then::Stop { .. } | Then::Start | Then::Fail { .. },
            Then::Stop { .. } | Then::Start | Then::Fail { .. } | Then::Remove,
        ) => {
            held.then = wanted;
            return true;
        }
    }
    false
}

/// Goes on to the next state, now that nothing runs any more.
fn next(facts: &mut Facts<'_>, then: Then, cx: &mut Cx<Effect>) -> State {
    let policy = facts.policy();
    facts.nothing_runs();
    match then {
        Then::Stop { last_exit } => State::Stopped(Stopped { last_exit }),
        Then::Start => facts.start_or_build(cx),
        Then::Fail { cause } => facts.fail(cause, policy, cx),
        Then::Remove => facts.remove(cx),
    }
}

/// Handles a failed stop: something may still run. A program that was to run, or that failed, is tried again
/// by its policy, and that retry stops it first. A program that was to stop or to be removed waits for a
/// person, because a retry would start it.
fn not_stopped(facts: &mut Facts<'_>, then: Then, cause: Arc<Cause>, cx: &mut Cx<Effect>) -> State {
    match then {
        Then::Start => facts.fail(cause, facts.policy(), cx),
        Then::Fail { cause: first } => facts.fail_running(first, cause, cx),
        Then::Stop { .. } | Then::Remove => facts.stay_failed(cause),
    }
}

fn late(facts: &Facts<'_>, step: StopStep) -> Cause {
    let after = Lasting(facts.stop_timeout_ms(step));
    match step {
        StopStep::Containers => Cause::StopFailed {
            message: format!("containers were not removed within {after}"),
        },
        StopStep::Files => Cause::RemoveFailed {
            message: format!("folders and images were not removed within {after}"),
        },
    }
}
