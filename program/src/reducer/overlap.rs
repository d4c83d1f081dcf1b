//! A second instance of a program that is up: one of the next revision that is brought up beside it, or one that is
//! stopped beside it.
//!
//! ```text
//! begin ─► it is ready ─► it is the program's instance; the one before leaves: its requests end, it is stopped
//!     └─ it fails ─► it leaves; the instance that is up was never touched
//! ```

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use hersh_machine::{OpId, StepContext};

use super::{
    facts::{CHECK_TIMEOUT_MS, Facts, after, cancel_check},
    leaving, starting,
};
use crate::{
    Cause, ContainerId, Effect, Event, ImageId, Ready, RevisionNumber, Rollout, RolloutStep,
    Source, Starting, State,
};

/// Returns whether an instance of `source` may be started beside the one that is up. There are two instances at
/// most, told apart by their numbers.
pub(super) fn may_begin(facts: &Facts<'_>, ready: &Ready, source: &Source) -> bool {
    !source.manifest.deploy.keeps_state() && ready.leaving.is_none() && facts.numbers_instances()
}

/// Begins to bring up an instance of a revision whose image is built.
pub(super) fn begin(
    facts: &mut Facts<'_>,
    ready: Ready,
    (revision, source): (RevisionNumber, Source),
    image: ImageId,
    cx: &mut StepContext<Effect>,
) -> State {
    let starting = facts.begin_start(image, &source.manifest, cx);
    let step = RolloutStep::Starting { source, starting };
    let rollout = Some(Box::new(Rollout { revision, step }));
    State::Ready(Ready { rollout, ..ready })
}

/// Takes in an event about an instance that is brought up or stopped beside the one that is up. Any other event is
/// stale.
pub(super) fn outcome(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::InstanceStarted { op, started } if starts(&ready, op) => {
            return came_up(facts, ready, started.container, cx);
        }
        Event::StartFailed { op, cause } if starts(&ready, op) => {
            leaving::fail(facts, &mut ready, Arc::new(cause), cx);
        }
        Event::InstanceEnded {
            instance,
            container,
            exit,
        } => {
            if let Some(starting) = starting_of(&mut ready).filter(|it| it.instance == instance) {
                starting::remember(&mut starting.exits, container, exit);
            }
        }
        Event::StopFinished { op, result: Ok(()) } if leaving::leaves(&ready, op) => {
            ready.leaving = None
        }
        // It is asked for again at the deadline: the instance must not stay.
        Event::StopFinished { op, .. } | Event::HandlerPanicked { op, .. }
            if leaving::leaves(&ready, op) =>
        {
            if let Some(leaving) = &mut ready.leaving {
                leaving.deadline_ms = after(cx.now_ms(), CHECK_TIMEOUT_MS);
            }
        }
        Event::DeadlinePassed { op } if leaving::leaves(&ready, op) => {
            leaving::stop_again(facts, &mut ready, cx)
        }
        Event::UserStartRequested
        | Event::UserStopRequested
        | Event::UserRestartRequested
        | Event::UserDeleteRequested
        | Event::UserRollBackRequested { .. }
        | Event::UserBuildRequested
        | Event::SourceReplaced { .. }
        | Event::HostStarted { .. }
        | Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
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
    State::Ready(ready)
}

/// Returns the cause for a start beside the instance that is past its deadline.
pub(super) fn late(source: &Source) -> Cause {
    Cause::NotReadyInTime {
        after_ms: source.manifest.timeouts.start_ms,
        last_probe: String::from("the start did not report back"),
        logs: Vec::new(),
    }
}

/// Lets the new instance take the place of the one that is up, which leaves.
fn came_up(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    container: ContainerId,
    cx: &mut StepContext<Effect>,
) -> State {
    let ended = starting_of(&mut ready).and_then(|starting| starting::end_of(starting, &container));
    if let Some(exit) = ended {
        leaving::fail(facts, &mut ready, Arc::new(Cause::from(&*exit)), cx);
        return State::Ready(ready);
    }
    let Some(Rollout { revision, step }) = ready.rollout.take().map(|it| *it) else {
        return State::Ready(ready);
    };
    let RolloutStep::Starting { source, starting } = step else {
        return State::Ready(ready);
    };
    if facts.source_of(revision).is_none() {
        // So many newer revisions came meanwhile that this one is not kept any more.
        let step = RolloutStep::Starting { source, starting };
        leaving::dismiss(facts, &mut ready, &Rollout { revision, step }, cx);
        facts.supersede(revision, cx.now_ms());
        return State::Ready(ready);
    }
    cancel_check(&ready, cx);
    facts.came_up();
    facts.plan_rollout(revision, cx.now_ms());
    let manifest = facts.start_manifest();
    facts.runs(&source);
    let before = (ready.instance, Some(ready.container), manifest);
    let drain_ms = source.manifest.deploy.drain_ms();
    let before = leaving::leave(facts, before, drain_ms, cx);
    State::Ready(Ready {
        leaving: Some(before),
        ..starting::up(starting, container, cx.now_ms())
    })
}

fn starting_of(ready: &mut Ready) -> Option<&mut Starting> {
    match &mut ready.rollout.as_mut()?.step {
        RolloutStep::Building(_) => None,
        RolloutStep::Starting { starting, .. } => Some(starting),
    }
}

fn starts(ready: &Ready, op: OpId) -> bool {
    ready
        .rollout
        .as_ref()
        .is_some_and(|rollout| match &rollout.step {
            RolloutStep::Building(_) => false,
            RolloutStep::Starting { starting, .. } => starting.op == op,
        })
}
