//! Stopping: instances are stopped and removed, then the last command is followed. Only the stop's own
//! outcome or deadline ends this state.

use alloc::{format, sync::Arc};

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, STOP, internal, refuse, refuse_already, refuse_busy};
use crate::{
    AfterStop, Cause, Effect, Event, Refusal, RevisionNote, RevisionNumber, RoundedSpan, Source,
    State, StopStep, Stopped, Stopping,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut stopping: Stopping,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            start(facts, &mut stopping, cx);
            State::Stopping(stopping)
        }
        Event::UserRollBackRequested { revision } => {
            roll_back(facts, &mut stopping, revision, cx);
            State::Stopping(stopping)
        }
        Event::UserStopRequested => {
            stop(facts, &mut stopping, cx);
            State::Stopping(stopping)
        }
        Event::UserBuildRequested => build_only(stopping, cx),
        Event::UserDeleteRequested => {
            wish(&mut stopping, AfterStop::Remove, cx);
            State::Stopping(stopping)
        }
        Event::SourceReplaced { source, note } => {
            replaced(facts, &stopping, (source, note), cx);
            State::Stopping(stopping)
        }
        Event::HostStarted { orphan, .. } => host_started(facts, stopping, orphan.is_some(), cx),
        Event::StopFinished { op, result } if is(&stopping, op, StopStep::Instances) => {
            match result {
                Ok(()) => next(facts, stopping.then, cx),
                Err(cause) => not_stopped(facts, stopping, Arc::new(cause), cx),
            }
        }
        Event::Removed { op, result } if is(&stopping, op, StopStep::Files) => match result {
            Ok(()) => State::Removed,
            Err(cause) => facts.stay_failed(Arc::new(cause)),
        },
        Event::HandlerPanicked { op, message } if op == stopping.op => {
            not_stopped(facts, stopping, internal(message), cx)
        }
        Event::DeadlinePassed { op } if op == stopping.op => {
            cx.emit(Effect::Cancel { op });
            let cause = late(facts, stopping.step);
            not_stopped(facts, stopping, Arc::new(cause), cx)
        }
        // Outcomes of other operations are stale. Exits are expected in this state.
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
        | Event::HandlerPanicked { .. } => State::Stopping(stopping),
    }
}

/// Counts the deadline anew. If an instance was left behind while files are being removed, stops all
/// instances first: the instance would otherwise go on without its files.
fn host_started(
    facts: &mut Facts<'_>,
    mut stopping: Stopping,
    is_left_behind: bool,
    cx: &mut StepContext<Effect>,
) -> State {
    if is_left_behind && stopping.step == StopStep::Files {
        facts.something_runs();
        return facts.abandon(stopping.op, None, stopping.then, cx);
    }
    let deadline_ms = facts.stop_deadline_ms(stopping.step, cx.now_ms());
    stopping.deadline_ms = stopping.deadline_ms.max(deadline_ms);
    State::Stopping(stopping)
}

fn stop(facts: &mut Facts<'_>, stopping: &mut Stopping, cx: &mut StepContext<Effect>) {
    if wish(stopping, STOP, cx) {
        facts.stop_rollout(cx.now_ms());
    }
}

fn roll_back(
    facts: &mut Facts<'_>,
    stopping: &mut Stopping,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) {
    let was_wanted = facts.wanted() == Some(revision);
    if !may_change(stopping, cx) || !facts.want(revision, cx) {
        return;
    }
    // It is about to be started, and something newer that was deployed since is not wanted any more.
    let is_next = stopping.then == AfterStop::Start && facts.other_revision().is_none();
    if was_wanted || !is_next {
        start(facts, stopping, cx);
    }
}

fn replaced(
    facts: &mut Facts<'_>,
    stopping: &Stopping,
    (source, note): (Source, RevisionNote),
    cx: &mut StepContext<Effect>,
) {
    if may_change(stopping, cx) {
        facts.replace(source, note, cx.now_ms());
    }
}

fn build_only(stopping: Stopping, cx: &mut StepContext<Effect>) -> State {
    if may_change(&stopping, cx) {
        refuse_busy("stopping", cx);
    }
    State::Stopping(stopping)
}

/// Returns false, after a refusal, for a program that is being removed.
fn may_change(stopping: &Stopping, cx: &mut StepContext<Effect>) -> bool {
    match stopping.then {
        AfterStop::Remove => {
            refuse(Refusal::BeingRemoved, cx);
            false
        }
        AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. } => true,
    }
}

/// Starts the wanted revision after the stop, unless that is planned already.
fn start(facts: &mut Facts<'_>, stopping: &mut Stopping, cx: &mut StepContext<Effect>) {
    let is_up = match stopping.then {
        AfterStop::Start | AfterStop::Fail { .. } => true,
        AfterStop::Stop { .. } | AfterStop::Remove => false,
    };
    let is_other = stopping.then == AfterStop::Start && facts.other_revision().is_some();
    if is_other || wish(stopping, AfterStop::Start, cx) {
        facts.forget_attempts();
        facts.plan_wanted(is_up, cx.now_ms());
    }
}

fn is(stopping: &Stopping, op: OpId, step: StopStep) -> bool {
    stopping.op == op && stopping.step == step
}

/// Replaces the step after the stop. The last command wins, but removal beats all others. Returns false,
/// after a refusal, when nothing changes.
fn wish(stopping: &mut Stopping, wanted: AfterStop, cx: &mut StepContext<Effect>) -> bool {
    match (&stopping.then, &wanted) {
        (AfterStop::Remove, AfterStop::Remove) => refuse_already("being removed", cx),
        (AfterStop::Remove, AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. }) => {
            refuse(Refusal::BeingRemoved, cx);
        }
        (AfterStop::Stop { .. }, AfterStop::Stop { .. }) => refuse_already("stopping", cx),
        (AfterStop::Start, AfterStop::Start) => refuse_already("stopping to start again", cx),
        (
            AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. },
            AfterStop::Stop { .. } | AfterStop::Start | AfterStop::Fail { .. } | AfterStop::Remove,
        ) => {
            stopping.then = wanted;
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
    stopping: Stopping,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match stopping.step {
        StopStep::Instances => facts.may_run_on(),
        StopStep::Files => {}
    }
    match stopping.then {
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
