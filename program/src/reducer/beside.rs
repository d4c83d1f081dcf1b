//! The next revision of a program that is up, while it is built beside the instance.
//!
//! ```text
//! begin ─► folders ─► image ─┬─► the instance is stopped, and the revision started in its place
//!              │             └─► the revision is started beside it: see `overlap`
//!              └─ fails ─► the instance goes on; it was never touched
//! ```

use alloc::{boxed::Box, sync::Arc};

use hersh_machine::{OpId, StepContext};

use super::{
    facts::{Facts, build_deadline_ms, internal, refuse_already, refuse_busy},
    leaving, overlap,
};
use crate::{
    AfterBuild, AfterStop, BuildStep, Building, Cause, Effect, Event, ImageId, Ready,
    RevisionNumber, Rollout, RolloutOutcome, RolloutStep, State,
};

/// Begins to build a revision. Does nothing if it is being built already; one that is under way gives way.
pub(super) fn begin(
    facts: &mut Facts<'_>,
    ready: Ready,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> Ready {
    begin_for(facts, ready, (revision, AfterBuild::Start), cx)
}

/// Begins to build the wanted revision, which is not started then. What is on its way already goes on instead.
pub(super) fn build_only(
    facts: &mut Facts<'_>,
    ready: Ready,
    cx: &mut StepContext<Effect>,
) -> Ready {
    match (facts.other_revision(), &ready.rollout) {
        (None, _) => refuse_already("running this revision", cx),
        (Some(wanted), Some(rollout)) if rollout.revision == wanted => {
            refuse_already("building this revision", cx);
        }
        (Some(_), Some(rollout)) if rollout.step.is_started() => {
            refuse_busy("about to run another revision", cx);
        }
        (Some(revision), Some(_) | None) => {
            let rest = None;
            let then = AfterBuild::Nothing { revision, rest };
            return begin_for(facts, ready, (revision, then), cx);
        }
    }
    ready
}

/// Begins a rollout anew that was cut.
pub(super) fn begin_again(
    facts: &mut Facts<'_>,
    ready: Ready,
    rollout: &Rollout,
    cx: &mut StepContext<Effect>,
) -> Ready {
    let then = match &rollout.step {
        RolloutStep::Building(building) => building.then.clone(),
        RolloutStep::Starting { .. } => AfterBuild::Start,
    };
    begin_for(facts, ready, (rollout.revision, then), cx)
}

/// Begins to build a revision, for `then`. A build of the same revision for nothing goes on for its start.
fn begin_for(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    (revision, then): (RevisionNumber, AfterBuild),
    cx: &mut StepContext<Effect>,
) -> Ready {
    if let Some(building) = built_only(&mut ready, revision) {
        building.then = then;
        return ready;
    }
    if ready
        .rollout
        .as_ref()
        .is_some_and(|it| it.revision == revision)
    {
        refuse_already("bringing this revision up", cx);
        return ready;
    }
    let by = revision;
    end(facts, &mut ready, RolloutOutcome::Superseded { by }, cx);
    let rollout = facts.source_of(revision).map(|source| {
        Box::new(Rollout {
            revision,
            step: RolloutStep::Building(facts.begin_build(source, then, cx)),
        })
    });
    Ready { rollout, ..ready }
}

/// Goes back to another revision. If that is the one that runs, only ends what is under way.
pub(super) fn roll_back(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> Ready {
    let was_wanted = facts.wanted() == Some(revision);
    if !facts.want(revision, cx) {
        return ready;
    }
    if facts.other_revision().is_some() {
        facts.forget_attempts();
        let is_on_its_way = ready
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.revision == revision && rollout.step.is_started());
        // It goes on, and something newer that was deployed since is not wanted any more.
        return match is_on_its_way && !was_wanted {
            true => ready,
            false => begin(facts, ready, revision, cx),
        };
    }
    if was_wanted && ready.rollout.is_none() {
        refuse_already("running this revision", cx);
    }
    let by = revision;
    end(facts, &mut ready, RolloutOutcome::Superseded { by }, cx);
    ready
}

/// Takes in an outcome. It counts only if it is of the rollout that is under way, or of what follows it.
pub(super) fn outcome(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::FoldersEnsured { op, result } if is(&ready, op, BuildStep::Folders) => {
            folders_ensured(facts, ready, result, cx)
        }
        Event::BuildFinished { op, result } if is(&ready, op, BuildStep::Image) => {
            built(facts, ready, result, cx)
        }
        Event::DeadlinePassed { op } if operation(&ready) == Some(op) => {
            cx.emit(Effect::Cancel { op });
            let cause = late(&ready);
            leaving::fail(facts, &mut ready, Arc::new(cause), cx);
            State::Ready(ready)
        }
        Event::HandlerPanicked { op, message } if operation(&ready) == Some(op) => {
            leaving::fail(facts, &mut ready, internal(message), cx);
            State::Ready(ready)
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
        | Event::InstanceEnded { .. }
        | Event::InstanceNotAlive { .. }
        | Event::InstanceAlive { .. }
        | Event::InstanceSettled { .. }
        | Event::StopFinished { .. }
        | Event::InstanceObserved { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => overlap::outcome(facts, ready, event, cx),
    }
}

/// Ends what is under way because of a command, and the instance that is up goes on. Does nothing if nothing is.
pub(super) fn end(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    outcome: RolloutOutcome,
    cx: &mut StepContext<Effect>,
) {
    if let Some(rollout) = leaving::take(ready, cx) {
        leaving::dismiss(facts, ready, &rollout, cx);
        facts.end_rollout(rollout.revision, outcome, cx.now_ms());
    }
}

/// Ends what is under way because of a command after which all instances are stopped.
pub(super) fn end_before_stop(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    cx: &mut StepContext<Effect>,
) {
    if let Some(rollout) = leaving::take_before_stop(ready, cx) {
        facts.end_rollout(rollout.revision, RolloutOutcome::Stopped, cx.now_ms());
    }
}

/// Lets the rollout go on after the stop of all instances, without any meanwhile. Returns false if none is under
/// way that ends in a start.
pub(super) fn go_on_after_stop(
    facts: &mut Facts<'_>,
    ready: &mut Ready,
    cx: &mut StepContext<Effect>,
) -> bool {
    let Some(rollout) = leaving::take_before_stop(ready, cx) else {
        return false;
    };
    let is_started = rollout.step.is_started();
    match is_started {
        true => facts.plan_rollout(rollout.revision, cx.now_ms()),
        false => facts.note_end(rollout.revision, RolloutOutcome::Cut, cx.now_ms()),
    }
    is_started
}

fn folders_ensured(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<(), Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    match result {
        Ok(()) => {
            if let Some((revision, mut building)) = take_building(&mut ready) {
                // The folders waited for the instance before to leave, which is no part of the build's time.
                building.deadline_ms = build_deadline_ms(&building.source.manifest, cx.now_ms());
                let step = RolloutStep::Building(facts.build_image(building, cx));
                ready.rollout = Some(Box::new(Rollout { revision, step }));
            }
        }
        Err(cause) => leaving::fail(facts, &mut ready, Arc::new(cause), cx),
    }
    State::Ready(ready)
}

/// Starts the revision whose image is built: in place of the instance, or beside it.
fn built(
    facts: &mut Facts<'_>,
    mut ready: Ready,
    result: Result<ImageId, Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    let image = match result {
        Ok(image) => image,
        Err(cause) => {
            leaving::fail(facts, &mut ready, Arc::new(cause), cx);
            return State::Ready(ready);
        }
    };
    let Some((revision, Building { source, then, .. })) = take_building(&mut ready) else {
        return State::Ready(ready);
    };
    facts.keep_image(&source, &image);
    if !then.is_start() {
        facts.end_rollout(revision, RolloutOutcome::Built, cx.now_ms());
        return State::Ready(ready);
    }
    if overlap::may_begin(facts, &ready, &source) {
        return overlap::begin(facts, ready, (revision, source), image, cx);
    }
    facts.plan_rollout(revision, cx.now_ms());
    facts.stop_ready(&ready, AfterStop::Start, cx)
}

/// Returns the build of a revision that is under way and not followed by a start.
fn built_only(ready: &mut Ready, revision: RevisionNumber) -> Option<&mut Building> {
    let rollout = ready.rollout.as_mut()?;
    match &mut rollout.step {
        RolloutStep::Building(building)
            if rollout.revision == revision && !building.then.is_start() =>
        {
            Some(building)
        }
        RolloutStep::Building(_) | RolloutStep::Starting { .. } => None,
    }
}

/// Takes the build that is under way off the program.
fn take_building(ready: &mut Ready) -> Option<(RevisionNumber, Building)> {
    let rollout = *ready.rollout.take()?;
    match rollout.step {
        RolloutStep::Building(building) => Some((rollout.revision, building)),
        RolloutStep::Starting { .. } => {
            ready.rollout = Some(Box::new(rollout));
            None
        }
    }
}

fn late(ready: &Ready) -> Cause {
    match ready.rollout.as_ref().map(|rollout| &rollout.step) {
        Some(RolloutStep::Starting { source, .. }) => overlap::late(source),
        Some(RolloutStep::Building(building)) => Cause::BuildTimedOut {
            after_ms: building.source.manifest.timeouts.build_ms,
        },
        None => Cause::BuildTimedOut { after_ms: 0 },
    }
}

fn operation(ready: &Ready) -> Option<OpId> {
    Some(ready.rollout.as_ref()?.step.op())
}

fn is(ready: &Ready, op: OpId, step: BuildStep) -> bool {
    ready
        .rollout
        .as_ref()
        .is_some_and(|rollout| match &rollout.step {
            RolloutStep::Building(building) => building.op == op && building.step == step,
            RolloutStep::Starting { .. } => false,
        })
}
