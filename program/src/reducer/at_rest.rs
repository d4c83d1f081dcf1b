//! Created, Stopped and Removed: nothing runs and nothing is under way.

use hersh_machine::StepContext;

use super::facts::{Facts, refuse, refuse_already};
use crate::{AfterBuild, AfterStop, Effect, Event, Refusal, Rest, RevisionNumber, State};

/// Handles an event in Created or Stopped, where the program waits for a start.
pub(super) fn reduce(
    facts: &mut Facts<'_>,
    rest: Rest,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            facts.forget_attempts();
            facts.plan_wanted(false, cx.now_ms());
            facts.build(cx)
        }
        Event::UserRollBackRequested { revision } => {
            if !facts.want(revision, cx) {
                return rest.into();
            }
            facts.forget_attempts();
            facts.plan_wanted(false, cx.now_ms());
            facts.build(cx)
        }
        Event::UserBuildRequested => build_only(facts, rest, cx),
        Event::UserStopRequested => {
            let state = State::from(rest);
            refuse_already(state.name(), cx);
            state
        }
        Event::UserDeleteRequested => facts.remove(cx),
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            rest.into()
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => {
            facts.something_runs();
            let last_exit = rest.last_exit();
            facts.stop(None, AfterStop::Stop { last_exit }, cx)
        }
        // Nothing is under way, so these events are late reports of earlier operations and instances.
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
        | Event::HandlerPanicked { .. } => rest.into(),
    }
}

/// Builds the wanted revision without a start. What a program of older rules has will be its first revision.
pub(super) fn build_only(facts: &Facts<'_>, rest: Rest, cx: &mut StepContext<Effect>) -> State {
    let revision = facts.wanted().unwrap_or(RevisionNumber(1));
    let source = facts.wanted_source();
    let source = source.unwrap_or_else(|| facts.planned().0);
    let rest = Some(rest);
    let then = AfterBuild::Nothing { revision, rest };
    State::Building(facts.begin_build(source, then, cx))
}

/// Handles an event in Removed, where the program's life is over. Late commands are refused.
pub(super) fn removed(event: Event, cx: &mut StepContext<Effect>) -> State {
    match event {
        Event::UserStartRequested
        | Event::UserStopRequested
        | Event::UserRestartRequested
        | Event::UserRollBackRequested { .. }
        | Event::UserBuildRequested
        | Event::SourceReplaced { .. } => refuse(Refusal::BeingRemoved, cx),
        Event::UserDeleteRequested => refuse_already(State::Removed.name(), cx),
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
        | Event::HandlerPanicked { .. } => {}
    }
    State::Removed
}
