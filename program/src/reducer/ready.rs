//! Ready: one instance runs, and the program waits for its end.
//!
//! During a restart of the host nobody saw whether the instance ended. So `HostStarted` asks the runtime with
//! `ObserveInstance`. If the answer says that the container is gone, ended or replaced, the instance has
//! ended. Without an answer the program stays Ready and asks again after [`CHECK_TIMEOUT_MS`].
//!
//! A new revision is built beside the instance. Effects of one program never overlap, so a host that starts
//! asks for the status first and begins the build anew.

use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};

use hersh_machine::{Cx, OpId};

use super::facts::{CHECK_TIMEOUT_MS, Facts, after, already, internal, refuse};
use crate::{
    AfterStop, BuildStep, Cause, Check, Effect, Event, Exit, ExitReason, ImageId, InstanceStatus,
    NotAlive, Ready, Refusal, RestartPolicy, RevisionNumber, Rollout, RolloutOutcome, State,
    recovery,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    mut held: Ready,
    event: Event,
    cx: &mut Cx<Effect>,
) -> State {
    facts.settle(held.since_ms, cx.now_ms());
    match event {
        Event::UserStartRequested => {
            already("ready", cx);
            State::Ready(held)
        }
        Event::UserStopRequested => {
            end_rollout(facts, &mut held, RolloutOutcome::Stopped, cx);
            facts.stop_rollout(cx.now_ms());
            leave(facts, &held, AfterStop::Stop { last_exit: None }, cx)
        }
        Event::UserRestartRequested => restart(facts, held, cx),
        Event::UserRollBackRequested { revision } => match facts.want(revision) {
            // Who keeps what runs does not mean to interrupt it.
            true if under_way(&held).is_some() && facts.other_revision().is_none() => {
                let outcome = RolloutOutcome::Superseded { by: revision };
                end_rollout(facts, &mut held, outcome, cx);
                State::Ready(held)
            }
            true => restart(facts, held, cx),
            false => {
                refuse(Refusal::NoSuchRevision { revision }, cx);
                State::Ready(held)
            }
        },
        Event::UserDeleteRequested => {
            end_rollout(facts, &mut held, RolloutOutcome::Stopped, cx);
            leave(facts, &held, AfterStop::Remove, cx)
        }
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Ready(held)
        }
        // Two instances that write to one `/state` would damage it. The one left behind can't be stopped
        // alone, so the program stops all and starts again.
        Event::HostStarted {
            left_behind: Some(_),
            ..
        } => {
            go_on_after_stop(facts, &mut held, cx);
            leave(facts, &held, AfterStop::Start, cx)
        }
        Event::HostStarted { .. } => {
            let revision = cancel_rollout(&mut held, cx);
            let held = ask(facts, held, cx);
            State::Ready(match revision {
                Some(revision) => build_beside(facts, held, revision, cx),
                None => held,
            })
        }
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } if instance == held.instance && container == held.container => {
            ended(facts, held, exit, cx)
        }
        Event::InstanceNotAlive {
            instance,
            container,
            failures,
            last_probe,
            logs,
        } if instance == held.instance && container == held.container => {
            let cause = Cause::NotAlive {
                failures,
                last_probe,
                logs,
            };
            not_alive(facts, held, cause, cx)
        }
        Event::InstanceAlive {
            instance,
            container,
        } if instance == held.instance && container == held.container => State::Ready(Ready {
            not_alive: None,
            ..held
        }),
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
            State::Ready(ask(facts, held, cx))
        }
        Event::FoldersEnsured { op, result } if builds(&held, op, BuildStep::Folders) => {
            folders_ensured(facts, held, result, cx)
        }
        Event::BuildFinished { op, result } if builds(&held, op, BuildStep::Image) => {
            built(facts, held, result, cx)
        }
        Event::DeadlinePassed { op } if rollout_op(&held) == Some(op) => {
            cx.emit(Effect::Cancel { op });
            let after_ms = held.rollout.as_ref().map_or(0, |rollout| {
                rollout.building.source.manifest.timeouts.build_ms
            });
            let cause = Arc::new(Cause::BuildTimedOut { after_ms });
            rollout_failed(facts, held, cause, cx)
        }
        Event::HandlerPanicked { op, message } if rollout_op(&held) == Some(op) => {
            rollout_failed(facts, held, internal(message), cx)
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
        | Event::HandlerPanicked { .. } => State::Ready(held),
    }
}

/// Starts the instance again. If another revision is wanted, builds that first: the instance is up meanwhile,
/// and a failed build does not touch it.
fn restart(facts: &mut Facts<'_>, mut held: Ready, cx: &mut Cx<Effect>) -> State {
    facts.forget_attempts();
    let other = facts.other_revision().map(|(revision, _source)| revision);
    match other {
        Some(revision) if under_way(&held) == Some(revision) => {
            already("building this revision", cx);
            State::Ready(held)
        }
        Some(revision) => {
            end_rollout(
                facts,
                &mut held,
                RolloutOutcome::Superseded { by: revision },
                cx,
            );
            State::Ready(build_beside(facts, held, revision, cx))
        }
        None => {
            end_rollout(facts, &mut held, RolloutOutcome::Stopped, cx);
            facts.plan_wanted(true, cx.now_ms());
            leave(facts, &held, AfterStop::Start, cx)
        }
    }
}

/// Asks the runtime for the instance's status. A new question replaces an earlier one.
fn ask(facts: &Facts<'_>, held: Ready, cx: &mut Cx<Effect>) -> Ready {
    forget_check(&held, cx);
    let op = cx.emit(Effect::ObserveInstance {
        program: facts.program(),
        instance: held.instance,
    });
    Ready {
        check: Some(Check {
            op,
            deadline_ms: after(cx.now_ms(), CHECK_TIMEOUT_MS),
        }),
        ..held
    }
}

fn compare(
    facts: &mut Facts<'_>,
    held: Ready,
    observed: InstanceStatus,
    cx: &mut Cx<Effect>,
) -> State {
    let held = Ready {
        check: None,
        ..held
    };
    match observed {
        InstanceStatus::Running(container) if container == held.container => State::Ready(held),
        InstanceStatus::Exited(container, exit) if container == held.container => {
            ended(facts, held, exit, cx)
        }
        // The program's start did not verify this other container, so it counts as none.
        InstanceStatus::Absent | InstanceStatus::Running(_) | InstanceStatus::Exited(..) => {
            let exit = Exit {
                reason: ExitReason::Vanished,
                logs: Vec::new(),
            };
            ended(facts, held, exit, cx)
        }
    }
}

/// Handles an end of the instance that nobody asked for.
fn ended(facts: &mut Facts<'_>, mut held: Ready, exit: Exit, cx: &mut Cx<Effect>) -> State {
    if go_on_after_stop(facts, &mut held, cx) {
        return leave(facts, &held, AfterStop::Start, cx);
    }
    let ran_ms = cx.now_ms().saturating_sub(held.since_ms);
    facts.ran_since(held.since_ms, cx.now_ms());
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
    leave(facts, &held, then, cx)
}

/// Handles an instance that is up and does not work: starts it again, if the manifest and the policy say so.
fn not_alive(facts: &mut Facts<'_>, mut held: Ready, cause: Cause, cx: &mut Cx<Effect>) -> State {
    if !facts.restarts_what_is_not_alive() {
        held.not_alive = Some(Box::new(NotAlive {
            since_ms: cx.now_ms(),
            last_probe: cause.to_string(),
        }));
        return State::Ready(held);
    }
    if go_on_after_stop(facts, &mut held, cx) {
        return leave(facts, &held, AfterStop::Start, cx);
    }
    facts.ran_since(held.since_ms, cx.now_ms());
    let then = facts.after_failure(Arc::new(cause), cx.now_ms());
    leave(facts, &held, then, cx)
}

/// Returns the start that follows the stop without anybody asking for it.
fn again(facts: &mut Facts<'_>, cx: &Cx<Effect>) -> AfterStop {
    facts.count_restart(cx.now_ms());
    AfterStop::Start
}

fn leave(facts: &Facts<'_>, held: &Ready, then: AfterStop, cx: &mut Cx<Effect>) -> State {
    forget_check(held, cx);
    facts.stop(Some(held.instance), then, cx)
}

fn forget_check(held: &Ready, cx: &mut Cx<Effect>) {
    if let Some(check) = held.check {
        cx.emit(Effect::Cancel { op: check.op });
    }
}

/// Begins to build a revision beside the instance.
fn build_beside(
    facts: &Facts<'_>,
    held: Ready,
    revision: RevisionNumber,
    cx: &mut Cx<Effect>,
) -> Ready {
    let rollout = facts.source_of(revision).map(|source| {
        Box::new(Rollout {
            revision,
            building: facts.begin_build(source, cx),
        })
    });
    Ready { rollout, ..held }
}

fn folders_ensured(
    facts: &mut Facts<'_>,
    mut held: Ready,
    result: Result<(), Cause>,
    cx: &mut Cx<Effect>,
) -> State {
    match (result, held.rollout.take()) {
        (Ok(()), Some(rollout)) => {
            let Rollout { revision, building } = *rollout;
            let building = facts.build_image(building, cx);
            let rollout = Some(Box::new(Rollout { revision, building }));
            State::Ready(Ready { rollout, ..held })
        }
        (Ok(()), None) => State::Ready(held),
        (Err(cause), rollout) => {
            let held = Ready { rollout, ..held };
            rollout_failed(facts, held, Arc::new(cause), cx)
        }
    }
}

/// Replaces the instance by one of the revision whose image is built.
fn built(
    facts: &mut Facts<'_>,
    mut held: Ready,
    result: Result<ImageId, Cause>,
    cx: &mut Cx<Effect>,
) -> State {
    let image = match result {
        Ok(image) => image,
        Err(cause) => return rollout_failed(facts, held, Arc::new(cause), cx),
    };
    let Some(rollout) = held.rollout.take() else {
        return State::Ready(held);
    };
    facts.keep_image(&rollout.building.source, &image);
    facts.plan_rollout(rollout.revision, cx.now_ms());
    leave(facts, &held, AfterStop::Start, cx)
}

/// Ends the rollout. The instance was never touched.
fn rollout_failed(
    facts: &mut Facts<'_>,
    mut held: Ready,
    cause: Arc<Cause>,
    cx: &Cx<Effect>,
) -> State {
    if let Some(rollout) = held.rollout.take() {
        let outcome = RolloutOutcome::Failed { cause };
        facts.end_rollout(rollout.revision, outcome, cx.now_ms());
    }
    State::Ready(held)
}

/// Ends the rollout because of a command. Does nothing if none is under way.
fn end_rollout(
    facts: &mut Facts<'_>,
    held: &mut Ready,
    outcome: RolloutOutcome,
    cx: &mut Cx<Effect>,
) {
    if let Some(revision) = cancel_rollout(held, cx) {
        facts.end_rollout(revision, outcome, cx.now_ms());
    }
}

/// Lets the rollout go on after the stop of the instance, without an instance meanwhile. Returns false if none
/// is under way.
fn go_on_after_stop(facts: &mut Facts<'_>, held: &mut Ready, cx: &mut Cx<Effect>) -> bool {
    let revision = cancel_rollout(held, cx);
    if let Some(revision) = revision {
        facts.plan_rollout(revision, cx.now_ms());
    }
    revision.is_some()
}

fn cancel_rollout(held: &mut Ready, cx: &mut Cx<Effect>) -> Option<RevisionNumber> {
    let rollout = held.rollout.take()?;
    let op = rollout.building.op;
    cx.emit(Effect::Cancel { op });
    Some(rollout.revision)
}

fn under_way(held: &Ready) -> Option<RevisionNumber> {
    Some(held.rollout.as_ref()?.revision)
}

fn rollout_op(held: &Ready) -> Option<OpId> {
    Some(held.rollout.as_ref()?.building.op)
}

fn builds(held: &Ready, op: OpId, step: BuildStep) -> bool {
    held.rollout
        .as_ref()
        .is_some_and(|rollout| rollout.building.op == op && rollout.building.step == step)
}
