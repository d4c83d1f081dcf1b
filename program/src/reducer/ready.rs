//! Ready: one instance runs, and the program waits for its end.
//!
//! During a restart of the host nobody saw whether the instance ended. So `HostStarted` asks the runtime with
//! `ObserveInstance`. If the answer says that the container is gone, ended or replaced, the instance has
//! ended. Without an answer the program stays Ready and asks again after [`CHECK_TIMEOUT_MS`].

use alloc::{sync::Arc, vec::Vec};

use hersh_machine::StepContext;

use super::facts::{CHECK_TIMEOUT_MS, Facts, STOP, after, refuse_already};
use crate::{
    AfterStop, Cause, Check, Effect, Event, Exit, ExitReason, InstanceStatus, Ready, RestartPolicy,
    State, recovery,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    ready: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => {
            refuse_already("ready", cx);
            State::Ready(ready)
        }
        Event::UserStopRequested => stop(facts, &ready, STOP, cx),
        Event::UserRestartRequested => {
            facts.forget_attempts();
            stop(facts, &ready, AfterStop::Start, cx)
        }
        Event::UserDeleteRequested => stop(facts, &ready, AfterStop::Remove, cx),
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Ready(ready)
        }
        // Two instances that write to one `/state` would damage it. The orphan can't be stopped
        // alone, so the program stops all and starts again.
        Event::HostStarted {
            orphan: Some(_), ..
        } => stop(facts, &ready, AfterStop::Start, cx),
        Event::HostStarted { .. } => ask_status(facts, ready, cx),
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } if instance == ready.instance && container == ready.container => {
            ended(facts, &ready, exit, cx)
        }
        Event::InstanceObserved { op, result }
            if ready.check.is_some_and(|check| check.op == op) =>
        {
            match result {
                Ok(observed) => take_status(facts, ready, observed, cx),
                // The question stays open until its deadline; then it is asked again.
                Err(_) => State::Ready(ready),
            }
        }
        Event::DeadlinePassed { op } if ready.check.is_some_and(|check| check.op == op) => {
            ask_status(facts, ready, cx)
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
        | Event::HandlerPanicked { .. } => State::Ready(ready),
    }
}

/// Asks the runtime for the instance's status. A new question replaces an earlier one.
fn ask_status(facts: &Facts<'_>, ready: Ready, cx: &mut StepContext<Effect>) -> State {
    cancel_check(&ready, cx);
    let op = cx.emit(Effect::ObserveInstance {
        program: facts.program(),
        instance: ready.instance,
    });
    State::Ready(Ready {
        check: Some(Check {
            op,
            deadline_ms: after(cx.now_ms(), CHECK_TIMEOUT_MS),
        }),
        ..ready
    })
}

fn take_status(
    facts: &mut Facts<'_>,
    ready: Ready,
    observed: InstanceStatus,
    cx: &mut StepContext<Effect>,
) -> State {
    let ready = Ready {
        check: None,
        ..ready
    };
    match observed {
        InstanceStatus::Running(container) if container == ready.container => State::Ready(ready),
        InstanceStatus::Exited(container, exit) if container == ready.container => {
            ended(facts, &ready, exit, cx)
        }
        // The program's start did not verify this other container, so it counts as none.
        InstanceStatus::Absent | InstanceStatus::Running(_) | InstanceStatus::Exited(..) => {
            let exit = Exit {
                reason: ExitReason::Vanished,
                logs: Vec::new(),
            };
            ended(facts, &ready, exit, cx)
        }
    }
}

/// Handles an end of the instance that nobody asked for.
fn ended(facts: &mut Facts<'_>, ready: &Ready, exit: Exit, cx: &mut StepContext<Effect>) -> State {
    let ran_ms = cx.now_ms().saturating_sub(ready.since_ms);
    facts.ran_since(ready.since_ms, cx.now_ms());
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
    stop(facts, ready, then, cx)
}

fn stop(facts: &Facts<'_>, ready: &Ready, then: AfterStop, cx: &mut StepContext<Effect>) -> State {
    cancel_check(ready, cx);
    facts.stop(Some(ready.instance), then, cx)
}

fn cancel_check(ready: &Ready, cx: &mut StepContext<Effect>) {
    if let Some(check) = ready.check {
        cx.emit(Effect::Cancel { op: check.op });
    }
}
