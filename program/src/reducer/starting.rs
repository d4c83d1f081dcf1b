//! Starting: one instance is being brought up.
//!
//! An exit of that instance may be reported before `InstanceStarted`. The state keeps the exit. When
//! `InstanceStarted` comes all the same, the exit counts: the instance has ended already. Unnumbered instances
//! are told apart by the runtime's id for them. An end before the instance is ready is seen by `StartInstance`
//! itself.

use alloc::{string::String, sync::Arc, vec::Vec};

use hersh_machine::StepContext;

use super::facts::{Facts, STOP, internal, refuse_already};
use crate::{
    AfterStop, Cause, ContainerId, Effect, Event, Exit, ExitReason, Ready, RestartPolicy, Starting,
    State,
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
        Event::UserStopRequested => abandon(facts, &starting, STOP, cx),
        Event::UserRestartRequested => {
            facts.forget_attempts();
            abandon(facts, &starting, AfterStop::Start, cx)
        }
        Event::UserDeleteRequested => abandon(facts, &starting, AfterStop::Remove, cx),
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Starting(starting)
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => abandon(facts, &starting, AfterStop::Start, cx),
        Event::HostStarted { .. } => {
            let deadline_ms = facts.start_deadline_ms(cx.now_ms());
            starting.deadline_ms = starting.deadline_ms.max(deadline_ms);
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
        Event::DeadlinePassed { op } if op == starting.op => {
            let cause = Arc::new(Cause::NotReadyInTime {
                after_ms: facts.start_timeout_ms(),
                last_probe: String::from("the start did not report back"),
                logs: Vec::new(),
            });
            abandon(facts, &starting, AfterStop::Fail { cause }, cx)
        }
        // Outcomes of other operations, and exits of other instances, are stale.
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
            facts.stop(Some(starting.instance), AfterStop::Stop { last_exit }, cx)
        }
        (cause, RestartPolicy::Never | RestartPolicy::OnFailure | RestartPolicy::Always) => {
            fail(facts, starting, Arc::new(cause), cx)
        }
    }
}

fn came_up(
    facts: &Facts<'_>,
    starting: Starting,
    container: ContainerId,
    cx: &mut StepContext<Effect>,
) -> State {
    let ended = starting.exits.iter().find(|(id, _)| *id == container);
    match ended {
        Some((_, exit)) => fail(facts, &starting, Arc::new(Cause::from(&**exit)), cx),
        None => State::Ready(Ready {
            instance: starting.instance,
            image: starting.image,
            container,
            since_ms: cx.now_ms(),
            check: None,
        }),
    }
}

fn remember(exits: &mut Vec<(ContainerId, Arc<Exit>)>, container: ContainerId, exit: Exit) {
    if exits.len() >= Starting::MAX_EXITS {
        exits.remove(0);
    }
    exits.push((container, Arc::new(exit)));
}

/// Stops the instance before the program goes to Error, so that a failed start leaves nothing behind.
fn fail(
    facts: &Facts<'_>,
    starting: &Starting,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.stop(Some(starting.instance), AfterStop::Fail { cause }, cx)
}

fn abandon(
    facts: &Facts<'_>,
    starting: &Starting,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(starting.op, Some(starting.instance), then, cx)
}
