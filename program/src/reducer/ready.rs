//! Ready: one instance runs, and the program waits for its end.
//!
//! During a restart of the host nobody saw whether the instance ended. So `HostStarted` asks the runtime with
//! `ObserveInstance`. If the answer says that the container is gone, ended or replaced, the instance has
//! ended. Without an answer the program stays Ready and asks again after [`CHECK_TIMEOUT_MS`].
//!
//! A new revision is built beside the instance. Effects of one program never overlap, so a host that starts
//! asks for the status first and begins the build anew.

use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};

use hersh_machine::{OpId, StepContext};

use super::facts::{CHECK_TIMEOUT_MS, Facts, after, internal, refuse, refuse_already};
use crate::{
    AfterStop, BuildStep, Cause, Check, Effect, Event, Exit, ExitReason, ImageId, InstanceStatus,
    NotAlive, Ready, Refusal, RestartPolicy, RevisionNumber, Rollout, RolloutOutcome, State,
    recovery,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.settle(ready.since_ms, cx.now_ms());
    match event {
        Event::UserStartRequested => {
            refuse_already("ready", cx);
            State::Ready(ready)
        }
        Event::UserStopRequested => {
            end_rollout(facts, &mut ready, RolloutOutcome::Stopped, cx);
            facts.stop_rollout(cx.now_ms());
            stop(facts, &ready, AfterStop::Stop { last_exit: None }, cx)
        }
        Event::UserRestartRequested => restart(facts, ready, cx),
        Event::UserRollBackRequested { revision } => match facts.want(revision) {
            true => restart(facts, ready, cx),
            false => {
                refuse(Refusal::NoSuchRevision { revision }, cx);
                State::Ready(ready)
            }
        },
        Event::UserDeleteRequested => {
            end_rollout(facts, &mut ready, RolloutOutcome::Stopped, cx);
            stop(facts, &ready, AfterStop::Remove, cx)
        }
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Ready(ready)
        }
        // Two instances that write to one `/state` would damage it. The one left behind can't be stopped
        // alone, so the program stops all and starts again.
        Event::HostStarted {
            orphan: Some(_), ..
        } => {
            go_on_after_stop(facts, &mut ready, cx);
            stop(facts, &ready, AfterStop::Start, cx)
        }
        Event::HostStarted { .. } => {
            let revision = cancel_rollout(&mut ready, cx);
            let ready = ask_status(facts, ready, cx);
            State::Ready(match revision {
                Some(revision) => build_beside(facts, ready, revision, cx),
                None => ready,
            })
        }
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
            let cause = Cause::NotAlive {
                failures,
                last_probe,
                logs,
            };
            not_alive(facts, ready, cause, cx)
        }
        Event::InstanceAlive {
            instance,
            container,
        } if instance == ready.instance && container == ready.container => State::Ready(Ready {
            not_alive: None,
            ..ready
        }),
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
            State::Ready(ask_status(facts, ready, cx))
        }
        Event::FoldersEnsured { op, result } if builds(&ready, op, BuildStep::Folders) => {
            folders_ensured(facts, ready, result, cx)
        }
        Event::BuildFinished { op, result } if builds(&ready, op, BuildStep::Image) => {
            built(facts, ready, result, cx)
        }
        Event::DeadlinePassed { op } if rollout_op(&ready) == Some(op) => {
            cx.emit(Effect::Cancel { op });
            let after_ms = ready.rollout.as_ref().map_or(0, |rollout| {
                rollout.building.source.manifest.timeouts.build_ms
            });
            let cause = Arc::new(Cause::BuildTimedOut { after_ms });
            rollout_failed(facts, ready, cause, cx)
        }
        Event::HandlerPanicked { op, message } if rollout_op(&ready) == Some(op) => {
            rollout_failed(facts, ready, internal(message), cx)
        }
        // Outcomes of other operations and exits of other instances are stale. A question whose handler
        // panicked is asked again at its deadline.
        Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
        | Event::InstanceEnded { .. }
        | Event::InstanceNotAlive { .. }
        | Event::InstanceAlive { .. }
        | Event::StopFinished { .. }
        | Event::InstanceObserved { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => State::Ready(ready),
    }
}

/// Starts the instance again. If another revision is wanted, builds that first: the instance is up meanwhile,
/// and a failed build does not touch it.
fn restart(facts: &mut Facts<'_>, mut ready: Ready, cx: &mut StepContext<Effect>) -> State {
    facts.forget_attempts();
    let other = facts.other_revision().map(|(revision, _source)| revision);
    match other {
        Some(revision) if under_way(&ready) == Some(revision) => {
            refuse_already("building this revision", cx);
            State::Ready(ready)
        }
        Some(revision) => {
            end_rollout(
                facts,
                &mut ready,
                RolloutOutcome::Superseded { by: revision },
                cx,
            );
            State::Ready(build_beside(facts, ready, revision, cx))
        }
        None => {
            end_rollout(facts, &mut ready, RolloutOutcome::Stopped, cx);
            facts.plan_wanted(true, cx.now_ms());
            stop(facts, &ready, AfterStop::Start, cx)
        }
    }
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
    if go_on_after_stop(facts, &mut ready, cx) {
        return stop(facts, &ready, AfterStop::Start, cx);
    }
    let ran_ms = cx.now_ms().saturating_sub(ready.since_ms);
    facts.ran_since(ready.since_ms, cx.now_ms());
    let clean = exit.reason == ExitReason::Code(0);
    let engine_stopped = matches!(exit.reason, ExitReason::StoppedFromOutside { .. });
    let settled = ran_ms >= recovery::SETTLED_RUN_MS;
    if clean {
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
    stop(facts, &ready, then, cx)
}

/// Handles an instance that is up and does not work: starts it again, if the manifest and the policy say so.
fn not_alive(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    cause: Cause,
    cx: &mut StepContext<Effect>,
) -> State {
    if !facts.restarts_what_is_not_alive() {
        ready.not_alive = Some(Box::new(NotAlive {
            since_ms: cx.now_ms(),
            last_probe: cause.to_string(),
        }));
        return State::Ready(ready);
    }
    if go_on_after_stop(facts, &mut ready, cx) {
        return stop(facts, &ready, AfterStop::Start, cx);
    }
    facts.ran_since(ready.since_ms, cx.now_ms());
    let then = facts.after_failure(Arc::new(cause), cx.now_ms());
    stop(facts, &ready, then, cx)
}

/// Returns the start that follows the stop without anybody asking for it.
fn again(facts: &mut Facts<'_>, cx: &StepContext<Effect>) -> AfterStop {
    facts.count_restart(cx.now_ms());
    AfterStop::Start
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

/// Begins to build a revision beside the instance.
fn build_beside(
    facts: &Facts<'_>,
    ready: Ready,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> Ready {
    let rollout = facts.source_of(revision).map(|source| {
        Box::new(Rollout {
            revision,
            building: facts.begin_build(source, cx),
        })
    });
    Ready { rollout, ..ready }
}

fn folders_ensured(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<(), Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match (result, ready.rollout.take()) {
        (Ok(()), Some(rollout)) => {
            let Rollout { revision, building } = *rollout;
            let building = facts.build_image(building, cx);
            let rollout = Some(Box::new(Rollout { revision, building }));
            State::Ready(Ready { rollout, ..ready })
        }
        (Ok(()), None) => State::Ready(ready),
        (Err(cause), rollout) => {
            let ready = Ready { rollout, ..ready };
            rollout_failed(facts, ready, Arc::new(cause), cx)
        }
    }
}

/// Replaces the instance by one of the revision whose image is built.
fn built(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<ImageId, Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    let image = match result {
        Ok(image) => image,
        Err(cause) => return rollout_failed(facts, ready, Arc::new(cause), cx),
    };
    let Some(rollout) = ready.rollout.take() else {
        return State::Ready(ready);
    };
    facts.keep_image(&rollout.building.source, &image);
    facts.plan_rollout(rollout.revision, cx.now_ms());
    stop(facts, &ready, AfterStop::Start, cx)
}

/// Ends the rollout. The instance was never touched.
fn rollout_failed(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    cause: Arc<Cause>,
    cx: &StepContext<Effect>,
) -> State {
    if let Some(rollout) = ready.rollout.take() {
        let outcome = RolloutOutcome::Failed { cause };
        facts.end_rollout(rollout.revision, outcome, cx.now_ms());
    }
    State::Ready(ready)
}

/// Ends the rollout because of a command. Does nothing if none is under way.
fn end_rollout(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    outcome: RolloutOutcome,
    cx: &mut StepContext<Effect>,
) {
    if let Some(revision) = cancel_rollout(ready, cx) {
        facts.end_rollout(revision, outcome, cx.now_ms());
    }
}

/// Lets the rollout go on after the stop of the instance, without an instance meanwhile. Returns false if none
/// is under way.
fn go_on_after_stop(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    cx: &mut StepContext<Effect>,
) -> bool {
    let revision = cancel_rollout(ready, cx);
    if let Some(revision) = revision {
        facts.plan_rollout(revision, cx.now_ms());
    }
    revision.is_some()
}

fn cancel_rollout(ready: &mut Ready, cx: &mut StepContext<Effect>) -> Option<RevisionNumber> {
    let rollout = ready.rollout.take()?;
    let op = rollout.building.op;
    cx.emit(Effect::Cancel { op });
    Some(rollout.revision)
}

fn under_way(ready: &Ready) -> Option<RevisionNumber> {
    Some(ready.rollout.as_ref()?.revision)
}

fn rollout_op(ready: &Ready) -> Option<OpId> {
    Some(ready.rollout.as_ref()?.building.op)
}

fn builds(ready: &Ready, op: OpId, step: BuildStep) -> bool {
    ready
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.building.op == op && rollout.building.step == step)
}
