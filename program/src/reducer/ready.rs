//! Ready: one instance runs, and the program waits for its end.
//!
//! During a restart of the host nobody saw whether the instance ended. So `HostStarted` asks the runtime with
//! `ObserveInstance`. If the answer says that the container is gone, ended or replaced, the instance has
//! ended. Without an answer the program stays Ready and asks again after [`CHECK_TIMEOUT_MS`].
//!
//! The next revision is built meanwhile: see [`beside`]. Effects of one program never overlap, so a host that
//! starts asks for the status first, and begins the build or the start of that revision anew.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use hersh_machine::{OpId, StepContext};

use super::{
    beside,
    facts::{CHECK_TIMEOUT_MS, Facts, STOP, after, cancel_check, refuse_already},
    leaving,
};
use crate::{
    AfterStop, Cause, Check, Effect, Event, Exit, ExitReason, InstanceStatus, Logs, NotAlive,
    Ready, RestartPolicy, RevisionNote, Source, State, recovery,
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
        Event::UserStopRequested => end(facts, ready, STOP, cx),
        Event::UserRestartRequested => restart(facts, ready, cx),
        Event::UserRollBackRequested { revision } => {
            State::Ready(beside::roll_back(facts, ready, revision, cx))
        }
        Event::UserBuildRequested => State::Ready(beside::build_only(facts, ready, cx)),
        Event::UserDeleteRequested => end(facts, ready, AfterStop::Remove, cx),
        Event::SourceReplaced { source, note } => replaced(facts, ready, (source, note), cx),
        Event::HostStarted { orphan, .. } => host_started(facts, ready, orphan.is_some(), cx),
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } if instance == ready.instance && container == ready.container => {
            ended(facts, ready, exit, cx)
        }
        Event::InstanceNotAlive {
            instance,
            container,
            failures,
            last_probe,
            logs,
        } if instance == ready.instance && container == ready.container => {
            not_alive(facts, ready, (failures, last_probe, logs), cx)
        }
        Event::InstanceSettled { instance } if instance == ready.instance => {
            settled(facts, ready, cx)
        }
        Event::InstanceAlive {
            instance,
            container,
        } if instance == ready.instance && container == ready.container => alive(ready),
        // Without an answer, the question stays open until its deadline; then it is asked again.
        Event::InstanceObserved {
            op,
            result: Ok(observed),
        } if asks(&ready, op) => take_status(facts, ready, observed, cx),
        Event::DeadlinePassed { op } if asks(&ready, op) => look_up(facts, ready, cx),
        // Other outcomes and ends count only if they are about what goes on beside the instance.
        Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
        | Event::InstanceEnded { .. }
        | Event::StopFinished { .. }
        | Event::DeadlinePassed { .. }
        | Event::HandlerPanicked { .. } => beside::outcome(facts, ready, event, cx),
        // A question whose handler panicked is asked again at its deadline.
        Event::InstanceNotAlive { .. }
        | Event::InstanceAlive { .. }
        | Event::InstanceSettled { .. }
        | Event::InstanceObserved { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. } => State::Ready(ready),
    }
}

/// Stops the instance because of a command, and ends what is under way beside it.
fn end(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    beside::end_before_stop(facts, &mut ready, cx);
    facts.stop_rollout(cx.now_ms());
    facts.stop_ready(&ready, then, cx)
}

/// Starts the instance again. If another revision is wanted, builds that first: the instance is up meanwhile,
/// and a failed build does not touch it.
fn restart(facts: &mut Facts<'_>, mut ready: Ready, cx: &mut StepContext<Effect>) -> State {
    facts.forget_attempts();
    if let Some(revision) = facts.other_revision() {
        return State::Ready(beside::begin(facts, ready, revision, cx));
    }
    beside::end_before_stop(facts, &mut ready, cx);
    facts.plan_wanted(true, cx.now_ms());
    facts.stop_ready(&ready, AfterStop::Start, cx)
}

/// Looks up the instance, which nobody saw while the host was away.
fn host_started(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    has_orphan: bool,
    cx: &mut StepContext<Effect>,
) -> State {
    // Two instances that write to one `/state` would damage it. The orphan can't be stopped alone, so the
    // program stops all and starts again.
    if has_orphan {
        beside::go_on_after_stop(facts, &mut ready, cx);
        return facts.stop_ready(&ready, AfterStop::Start, cx);
    }
    look_up(facts, ready, cx)
}

/// Asks the runtime for the instance's status before anything else. What goes on beside the instance begins anew
/// after that: it would otherwise hold up the question for as long as it takes.
fn look_up(facts: &mut Facts<'_>, mut ready: Ready, cx: &mut StepContext<Effect>) -> State {
    let rollout = leaving::take(&mut ready, cx);
    let mut ready = ask_status(facts, ready, cx);
    leaving::stop_again(facts, &mut ready, cx);
    State::Ready(match rollout {
        Some(rollout) => {
            leaving::dismiss(facts, &mut ready, &rollout, cx);
            beside::begin_again(facts, ready, &rollout, cx)
        }
        None => ready,
    })
}

/// Asks the runtime for the instance's status. A new question replaces an earlier one.
fn ask_status(facts: &Facts<'_>, ready: Ready, cx: &mut StepContext<Effect>) -> Ready {
    cancel_check(&ready, cx);
    let op = cx.emit(Effect::ObserveInstance {
        program: facts.program(),
        instance: ready.instance,
    });
    Ready {
        check: Some(Check {
            op,
            deadline_ms: after(cx.now_ms(), CHECK_TIMEOUT_MS),
        }),
        ..ready
    }
}

fn asks(ready: &Ready, op: OpId) -> bool {
    ready.check.is_some_and(|check| check.op == op)
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
            ended(facts, ready, exit, cx)
        }
        // The program's start did not verify this other container, so it counts as none.
        InstanceStatus::Absent | InstanceStatus::Running(_) | InstanceStatus::Exited(..) => {
            let exit = Exit {
                reason: ExitReason::Vanished,
                logs: Vec::new(),
            };
            ended(facts, ready, exit, cx)
        }
    }
}

/// Handles an end of the instance that nobody asked for.
fn ended(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    exit: Exit,
    cx: &mut StepContext<Effect>,
) -> State {
    if beside::go_on_after_stop(facts, &mut ready, cx) {
        return facts.stop_ready(&ready, AfterStop::Start, cx);
    }
    let ran_ms = cx.now_ms().saturating_sub(ready.since_ms);
    facts.ran_since(ready.since_ms, cx.now_ms());
    let clean = exit.reason == ExitReason::Code(0);
    let engine_stopped = matches!(exit.reason, ExitReason::StoppedFromOutside { .. });
    let settled = ran_ms >= recovery::SETTLED_RUN_MS;
    if clean && facts.policy() != RestartPolicy::Always {
        facts.finish_job(cx.now_ms());
    }
    let then = match facts.policy() {
        RestartPolicy::Always if clean && settled => again(facts, cx),
        // A program that was up when the engine went down is started again.
        RestartPolicy::OnFailure | RestartPolicy::Always if engine_stopped && settled => {
            again(facts, cx)
        }
        // A new revision of a service that ends at once is no good, even if it says that all is well.
        RestartPolicy::Never | RestartPolicy::OnFailure if clean && !facts.has_fallback() => {
            AfterStop::Stop {
                last_exit: Some(Arc::new(exit)),
            }
        }
        RestartPolicy::Never | RestartPolicy::OnFailure | RestartPolicy::Always => {
            facts.after_failure(Arc::new(Cause::from(&exit)), cx.now_ms())
        }
    };
    facts.stop_ready(&ready, then, cx)
}

/// Handles an instance that is up and does not work: starts it again, if the manifest and the policy say so.
fn not_alive(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    (failures, last_probe, logs): (u32, String, Logs),
    cx: &mut StepContext<Effect>,
) -> State {
    let cause = Cause::NotAlive {
        failures,
        last_probe,
        logs,
    };
    if !facts.restarts_what_is_not_alive() {
        ready.not_alive = Some(Box::new(NotAlive {
            since_ms: cx.now_ms(),
            last_probe: cause.to_string(),
        }));
        return State::Ready(ready);
    }
    if beside::go_on_after_stop(facts, &mut ready, cx) {
        return facts.stop_ready(&ready, AfterStop::Start, cx);
    }
    facts.ran_since(ready.since_ms, cx.now_ms());
    let then = facts.after_failure(Arc::new(cause), cx.now_ms());
    facts.stop_ready(&ready, then, cx)
}

fn settled(facts: &mut Facts<'_>, ready: Ready, cx: &StepContext<Effect>) -> State {
    facts.settle(cx.now_ms());
    State::Ready(ready)
}

fn replaced(
    facts: &mut Facts<'_>,
    ready: Ready,
    (source, note): (Source, RevisionNote),
    cx: &StepContext<Effect>,
) -> State {
    facts.replace(source, note, cx.now_ms());
    State::Ready(ready)
}

fn alive(ready: Ready) -> State {
    State::Ready(Ready {
        not_alive: None,
        ..ready
    })
}

/// Returns the start that follows the stop without anybody asking for it.
fn again(facts: &mut Facts<'_>, cx: &StepContext<Effect>) -> AfterStop {
    facts.count_restart(cx.now_ms());
    AfterStop::Start
}
