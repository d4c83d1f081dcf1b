//! Ready: one instance runs, and the program waits for its end.
//!
//! During a restart of the host nobody saw whether the instance ended. So `HostStarted` asks the runtime with
//! `ObserveInstance`. If the answer says that the container is gone, ended or replaced, the instance has
//! ended. Without an answer the program stays Ready and asks again after [`CHECK_TIMEOUT_MS`].

use alloc::{sync::Arc, vec::Vec};

use hersh_machine::StepContext;

use super::facts::{CHECK_TIMEOUT_MS, Facts, after, already};
use crate::{
    AfterStop, Cause, Check, Effect, Event, Exit, ExitReason, InstanceStatus, Ready, RestartPolicy,
    State, recovery,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    held: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            already("ready", cx);
            State::Ready(held)
        }
        Event::UserStopRequested => leave(facts, &held, AfterStop::Stop { last_exit: None }, cx),
        Event::UserRestartRequested => {
            facts.forget_attempts();
            leave(facts, &held, AfterStop::Start, cx)
        }
        Event::UserDeleteRequested => leave(facts, &held, AfterStop::Remove, cx),
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Ready(held)
        }
        // Two instances that write to one `/state` would damage it. The one left behind can't be stopped
        // alone, so the program stops all and starts again.
        Event::HostStarted {
            left_behind: Some(_),
            ..
        } => leave(facts, &held, AfterStop::Start, cx),
        Event::HostStarted { .. } => ask(facts, held, cx),
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } if instance == held.instance && container == held.container => {
            ended(facts, &held, exit, cx)
        }
        Event::InstanceObserved { op, result }
            if held.check.is_some_and(|check| check.op == op) =>
        {
            match result {
                Ok(observed) => compare(facts, held, observed, cx),
                // The question stays open until its deadline; then it is asked again.
                Err(_) => State::Ready(held),
            }
        }
        Event::DeadlinePassed { op } if held.check.is_some_and(|check| check.op == op) => {
            ask(facts, held, cx)
        }
        // Outcomes of other operations and exits of other instances are stale. A question whose handler
        // panicked is asked again at its deadline.
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
        | Event::HandlerPanicked { .. } => State::Ready(held),
    }
}

/// Asks the runtime for the instance's status. A new question replaces an earlier one.
fn ask(facts: &Facts<'_>, held: Ready, cx: &mut StepContext<Effect>) -> State {
    forget_check(&held, cx);
    let op = cx.emit(Effect::ObserveInstance {
        program: facts.program(),
        instance: held.instance,
    });
    State::Ready(Ready {
        check: Some(Check {
            op,
            deadline_ms: after(cx.now_ms(), CHECK_TIMEOUT_MS),
        }),
        ..held
    })
}

fn compare(
    facts: &mut Facts<'_>,
    held: Ready,
    observed: InstanceStatus,
    cx: &mut StepContext<Effect>,
) -> State {
    let held = Ready {
        check: None,
        ..held
    };
    match observed {
        InstanceStatus::Running(container) if container == held.container => State::Ready(held),
        InstanceStatus::Exited(container, exit) if container == held.container => {
            ended(facts, &held, exit, cx)
        }
        // The program's start did not verify this other container, so it counts as none.
        InstanceStatus::Absent | InstanceStatus::Running(_) | InstanceStatus::Exited(..) => {
            let exit = Exit {
                reason: ExitReason::Vanished,
                logs: Vec::new(),
            };
            ended(facts, &held, exit, cx)
        }
    }
}

/// Handles an end of the instance that nobody asked for.
fn ended(facts: &mut Facts<'_>, held: &Ready, exit: Exit, cx: &mut StepContext<Effect>) -> State {
    let ran_ms = cx.now_ms().saturating_sub(held.since_ms);
    facts.ran_since(held.since_ms, cx.now_ms());
    let clean = exit.reason == ExitReason::Code(0);
    let engine_stopped = matches!(exit.reason, ExitReason::StoppedFromOutside { .. });
    let settled = ran_ms >= recovery::SETTLED_RUN_MS;
    let then = match facts.policy() {
        RestartPolicy::Always if clean && settled => AfterStop::Start,
        // A program that was up when the engine went down is started again.
        RestartPolicy::OnFailure | RestartPolicy::Always if engine_stopped && settled => {
            AfterStop::Start
        }
        RestartPolicy::Never | RestartPolicy::OnFailure if clean => AfterStop::Stop {
            last_exit: Some(Arc::new(exit)),
        },
        RestartPolicy::Never | RestartPolicy::OnFailure | RestartPolicy::Always => {
            AfterStop::Fail {
                cause: Arc::new(Cause::from(&exit)),
            }
        }
    };
    leave(facts, held, then, cx)
}

fn leave(facts: &Facts<'_>, held: &Ready, then: AfterStop, cx: &mut StepContext<Effect>) -> State {
    forget_check(held, cx);
    facts.stop(Some(held.instance), then, cx)
}

fn forget_check(held: &Ready, cx: &mut StepContext<Effect>) {
    if let Some(check) = held.check {
        cx.emit(Effect::Cancel { op: check.op });
    }
}
