//! Starting: one instance is being brought up.
//!
//! An exit of that instance may be reported before `InstanceStarted`. The state keeps the exit. When
//! `InstanceStarted` comes all the same, the exit counts: the instance has ended already. Unnumbered instances
//! are told apart by the runtime's id for them. An end before the instance is ready is seen by `StartInstance`
//! itself.

use alloc::{string::String, sync::Arc, vec::Vec};

use hersh_machine::StepContext;

use super::facts::{Facts, STOP, internal, refuse_already, refuse_busy};
use crate::{
    AfterStop, Cause, ContainerId, Effect, Event, Exit, ExitReason, Ready, RestartPolicy,
    RevisionNumber, Starting, State,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut starting: Starting,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            refuse_already("starting", cx);
            State::Starting(starting)
        }
        Event::UserStopRequested => stop(facts, &starting, cx),
        Event::UserRestartRequested => restart(facts, &starting, cx),
        Event::UserRollBackRequested { revision } => roll_back(facts, starting, revision, cx),
        Event::UserBuildRequested => {
            refuse_busy("starting", cx);
            State::Starting(starting)
        }
        Event::UserDeleteRequested => abandon(facts, &starting, AfterStop::Remove, cx),
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Starting(starting)
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => abandon(facts, &starting, AfterStop::Start, cx),
        Event::HostStarted { .. } => {
            starting.deadline_ms = facts
                .start_deadline_ms(cx.now_ms())
                .max(starting.deadline_ms);
            State::Starting(starting)
        }
        Event::InstanceStarted { op, started } if op == starting.op => {
            came_up(facts, starting, started.container, cx)
        }
        Event::StartFailed { op, cause } if op == starting.op => {
            did_not_come_up(facts, &starting, cause, cx)
        }
        Event::HandlerPanicked { op, message } if op == starting.op => {
            fail(facts, &starting, internal(message), cx)
        }
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } if instance == starting.instance => {
            remember(&mut starting.exits, container, exit);
            State::Starting(starting)
        }
        Event::DeadlinePassed { op } if op == starting.op => give_up(facts, &starting, cx),
        // Outcomes of other operations, and exits of other instances, are stale.
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
        | Event::HandlerPanicked { .. } => State::Starting(starting),
    }
}

fn did_not_come_up(
    facts: &mut Facts<'_>,
    starting: &Starting,
    cause: Cause,
    cx: &mut StepContext<Effect>,
) -> State {
    if matches!(cause, Cause::ImageGone { .. }) {
        facts.forget_image();
    }
    match (cause, facts.policy()) {
        // A job that ended before it was seen to be up counts like a job that took longer.
        (Cause::Finished { logs }, RestartPolicy::Never | RestartPolicy::OnFailure) => {
            let exit = Exit {
                reason: ExitReason::Code(0),
                logs,
            };
            let last_exit = Some(Arc::new(exit));
            facts.finish_job(cx.now_ms());
            facts.stop(Some(starting.instance), AfterStop::Stop { last_exit }, cx)
        }
        (cause, RestartPolicy::Never | RestartPolicy::OnFailure | RestartPolicy::Always) => {
            fail(facts, starting, Arc::new(cause), cx)
        }
    }
}

fn came_up(
    facts: &mut Facts<'_>,
    starting: Starting,
    container: ContainerId,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.came_up();
    match end_of(&starting, &container) {
        Some(exit) => fail(facts, &starting, Arc::new(Cause::from(&*exit)), cx),
        None => State::Ready(up(starting, container, cx.now_ms())),
    }
}

/// Returns a program that is up since `now_ms`.
pub(super) fn up(starting: Starting, container: ContainerId, now_ms: u64) -> Ready {
    Ready {
        instance: starting.instance,
        image: starting.image,
        container,
        since_ms: now_ms,
        check: None,
        not_alive: None,
        rollout: None,
        leaving: None,
    }
}

/// Returns the end of a container that was seen since its start began.
pub(super) fn end_of(starting: &Starting, container: &ContainerId) -> Option<Arc<Exit>> {
    let mut exits = starting.exits.iter();
    let ended = exits.find(|(id, _)| id == container);
    ended.map(|(_, exit)| Arc::clone(exit))
}

/// Remembers an end for the moment at which its container is said to be up.
pub(super) fn remember(
    exits: &mut Vec<(ContainerId, Arc<Exit>)>,
    container: ContainerId,
    exit: Exit,
) {
    if exits.len() >= Starting::MAX_EXITS {
        exits.remove(0);
    }
    exits.push((container, Arc::new(exit)));
}

fn stop(facts: &mut Facts<'_>, starting: &Starting, cx: &mut StepContext<Effect>) -> State {
    facts.stop_rollout(cx.now_ms());
    abandon(facts, starting, STOP, cx)
}

fn roll_back(
    facts: &mut Facts<'_>,
    starting: Starting,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> State {
    match facts.want(revision, cx) {
        true => restart(facts, &starting, cx),
        false => State::Starting(starting),
    }
}

/// Ends a start that is past its deadline.
fn give_up(facts: &mut Facts<'_>, starting: &Starting, cx: &mut StepContext<Effect>) -> State {
    let cause = Arc::new(Cause::NotReadyInTime {
        after_ms: facts.start_timeout_ms(),
        last_probe: String::from("the start did not report back"),
        logs: Vec::new(),
    });
    let then = facts.after_failure(cause, cx.now_ms());
    abandon(facts, starting, then, cx)
}

/// Begins anew with the wanted revision.
fn restart(facts: &mut Facts<'_>, starting: &Starting, cx: &mut StepContext<Effect>) -> State {
    facts.forget_attempts();
    facts.plan_wanted(true, cx.now_ms());
    abandon(facts, starting, AfterStop::Start, cx)
}

/// Stops the instance before the program goes back to the revision before, or to Error, so that a failed start
/// leaves nothing behind.
fn fail(
    facts: &mut Facts<'_>,
    starting: &Starting,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    let then = facts.after_failure(cause, cx.now_ms());
    facts.stop(Some(starting.instance), then, cx)
}

fn abandon(
    facts: &Facts<'_>,
    starting: &Starting,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(starting.op, Some(starting.instance), then, cx)
}
