//! Building: first the folders are made, then the image. Both share one deadline.

use alloc::sync::Arc;

use hersh_machine::{OpId, StepContext};

use super::facts::{Facts, STOP, build_deadline_ms, internal, refuse_already, refuse_busy};
use crate::{
    AfterBuild, AfterStop, BuildStep, Building, Cause, Effect, Event, ImageId, Rest,
    RevisionNumber, RolloutOutcome, State, Stopped,
};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    building: Building,
    event: Event,
    cx: &mut StepContext<Effect>,
) -> State {
    match event {
        Event::UserStartRequested => start(facts, building, cx),
        Event::UserStopRequested => stop(facts, &building, cx),
        Event::UserRestartRequested => restart(facts, &building, cx),
        Event::UserRollBackRequested { revision } => roll_back(facts, building, revision, cx),
        Event::UserBuildRequested => build_only(facts, building, cx),
        Event::UserDeleteRequested => abandon(facts, &building, AfterStop::Remove, cx),
        Event::SourceReplaced { source, note } => {
            facts.replace(source, note, cx.now_ms());
            State::Building(building)
        }
        Event::HostStarted {
            orphan: Some(_), ..
        } => {
            facts.something_runs();
            let then = after_cut(facts, &building, RolloutOutcome::Cut, cx);
            abandon(facts, &building, then, cx)
        }
        Event::HostStarted { .. } => {
            let deadline_ms =
                build_deadline_ms(&building.source.manifest, cx.now_ms()).max(building.deadline_ms);
            State::Building(Building {
                deadline_ms,
                ..building
            })
        }
        Event::FoldersEnsured { op, result } if is(&building, op, BuildStep::Folders) => {
            match result {
                Ok(()) => State::Building(facts.build_image(building, cx)),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::BuildFinished { op, result } if is(&building, op, BuildStep::Image) => {
            match result {
                Ok(image) => built(facts, &building, image, cx),
                Err(cause) => fail(facts, &building, Arc::new(cause), cx),
            }
        }
        Event::DeadlinePassed { op } if op == building.op => give_up(facts, &building, cx),
        Event::HandlerPanicked { op, message } if op == building.op => {
            fail(facts, &building, internal(message), cx)
        }
        // Outcomes of other operations are stale. Exits are stale too: no instance of this start exists yet.
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
        | Event::HandlerPanicked { .. } => State::Building(building),
    }
}

/// Builds the wanted revision only, in place of an older one that is built only.
fn build_only(facts: &mut Facts<'_>, building: Building, cx: &mut StepContext<Effect>) -> State {
    let wanted = facts.wanted().zip(facts.wanted_source());
    match (&building.then, wanted) {
        (AfterBuild::Start, _) => refuse_busy("building", cx),
        (AfterBuild::Nothing { revision, rest }, Some((by, source))) if *revision != by => {
            cx.emit(Effect::Cancel { op: building.op });
            facts.note_end(*revision, RolloutOutcome::Superseded { by }, cx.now_ms());
            let then = AfterBuild::Nothing {
                revision: by,
                rest: rest.clone(),
            };
            return State::Building(facts.begin_build(source, then, cx));
        }
        (AfterBuild::Nothing { .. }, _) => refuse_already("being built", cx),
    }
    State::Building(building)
}

fn is(building: &Building, op: OpId, step: BuildStep) -> bool {
    building.op == op && building.step == step
}

/// Starts the image with the manifest that was there when this start began.
fn built(
    facts: &mut Facts<'_>,
    building: &Building,
    image: ImageId,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.keep_image(&building.source, &image);
    match &building.then {
        AfterBuild::Start => facts.start(image, &building.source, cx),
        AfterBuild::Nothing { revision, rest } => {
            facts.note_end(*revision, RolloutOutcome::Built, cx.now_ms());
            back(rest.as_ref())
        }
    }
}

/// Begins a start. A build that nothing was to follow goes on for it, if it is of the same source.
fn start(facts: &mut Facts<'_>, building: Building, cx: &mut StepContext<Effect>) -> State {
    if building.then.is_start() {
        refuse_already("building", cx);
        return State::Building(building);
    }
    facts.forget_attempts();
    facts.plan_wanted(false, cx.now_ms());
    let (planned, _image) = facts.planned();
    match planned == building.source {
        true => State::Building(Building {
            then: AfterBuild::Start,
            ..building
        }),
        false => abandon(facts, &building, AfterStop::Start, cx),
    }
}

fn stop(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    let then = match &building.then {
        AfterBuild::Start => STOP,
        AfterBuild::Nothing { .. } => after_cut(facts, building, RolloutOutcome::Stopped, cx),
    };
    facts.stop_rollout(cx.now_ms());
    abandon(facts, building, then, cx)
}

fn roll_back(
    facts: &mut Facts<'_>,
    building: Building,
    revision: RevisionNumber,
    cx: &mut StepContext<Effect>,
) -> State {
    match facts.want(revision, cx) {
        true => restart(facts, &building, cx),
        false => State::Building(building),
    }
}

/// Returns what follows the stop after a build that is cut.
fn after_cut(
    facts: &mut Facts<'_>,
    building: &Building,
    outcome: RolloutOutcome,
    cx: &StepContext<Effect>,
) -> AfterStop {
    match &building.then {
        AfterBuild::Start => AfterStop::Start,
        AfterBuild::Nothing { revision, rest } => {
            facts.note_end(*revision, outcome, cx.now_ms());
            let last_exit = rest.as_ref().and_then(Rest::last_exit);
            AfterStop::Stop { last_exit }
        }
    }
}

/// Returns what a program is again after a build that nothing follows.
fn back(rest: Option<&Rest>) -> State {
    let stopped = || State::Stopped(Stopped::default());
    rest.map_or_else(stopped, |rest| rest.clone().into())
}

/// Ends a build that is past its deadline.
fn give_up(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    let after_ms = building.source.manifest.timeouts.build_ms;
    let cause = Arc::new(Cause::BuildTimedOut { after_ms });
    let then = match &building.then {
        AfterBuild::Start => facts.after_failure(cause, cx.now_ms()),
        AfterBuild::Nothing { .. } => {
            after_cut(facts, building, RolloutOutcome::Failed { cause }, cx)
        }
    };
    abandon(facts, building, then, cx)
}

/// Begins anew with the wanted revision.
fn restart(facts: &mut Facts<'_>, building: &Building, cx: &mut StepContext<Effect>) -> State {
    facts.forget_attempts();
    facts.plan_wanted(building.then.is_start(), cx.now_ms());
    abandon(facts, building, AfterStop::Start, cx)
}

/// Goes back to the revision that ran before, which may well start where a registry or a disk building the build
/// up. Without one, goes to Error, by the restart policy that was there when this start began.
fn fail(
    facts: &mut Facts<'_>,
    building: &Building,
    cause: Arc<Cause>,
    cx: &mut StepContext<Effect>,
) -> State {
    if let AfterBuild::Nothing { revision, rest } = &building.then {
        facts.note_end(*revision, RolloutOutcome::Failed { cause }, cx.now_ms());
        return back(rest.as_ref());
    }
    match facts.fall_back(&cause, cx.now_ms()) {
        true => facts.start_or_build(cx),
        false => facts.fail(cause, building.source.manifest.restart, cx),
    }
}

fn abandon(
    facts: &Facts<'_>,
    building: &Building,
    then: AfterStop,
    cx: &mut StepContext<Effect>,
) -> State {
    facts.abandon(building.op, None, then, cx)
}
