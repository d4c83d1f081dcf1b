//! Turns the revisions of programs into what the API shows of them.
//!
//! A program notes that a revision has settled only at its next event. What is shown here goes by the time.

use hersh_manifest::shown;
use hersh_program::{
    AfterBuild, AfterStop, Program, Revision, RevisionNumber, RolloutEnd, RolloutOutcome,
    RolloutStep, StartKind, State,
};
use hersh_wire as wire;

use super::cause::cause_view;

/// Returns the revisions of a program that are kept, newest first.
pub(crate) fn revision_list(program: &Program, now_ms: u64) -> wire::RevisionList {
    let revisions = program.revisions.iter();
    let kept = revisions.flat_map(|revisions| revisions.iter().rev());
    wire::RevisionList {
        revisions: kept
            .map(|revision| revision_view(program, revision, now_ms))
            .collect(),
    }
}

fn revision_view(program: &Program, revision: &Revision, now_ms: u64) -> wire::RevisionView {
    let number = revision.number;
    let is_planned = program.current_revision() == Some(number);
    let note = &revision.note;
    wire::RevisionView {
        revision: number.0,
        build_id: revision.source.build.to_string(),
        image_id: revision.image.as_ref().map(ToString::to_string),
        good: revision.is_good || is_planned && settled_at_ms(program, now_ms).is_some(),
        current: is_planned && program.is_started(),
        wanted: program.wanted_revision() == Some(number),
        made_at_ms: revision.made_at_ms,
        by: note.by.as_ref().map(ToString::to_string),
        message: note.message.clone(),
        manifest: shown(&revision.source.manifest),
    }
}

/// Returns the view of the rollout that is under way.
pub(super) fn rollout_view(program: &Program, now_ms: u64) -> Option<wire::RolloutView> {
    if let Some(rollout) = program.state.rollout() {
        let runs = program.current_revision();
        let step = match &rollout.step {
            RolloutStep::Building(building) if building.then.is_start() => {
                wire::RolloutStep::Building
            }
            RolloutStep::Building(_) => wire::RolloutStep::BuildingOnly,
            RolloutStep::Starting { .. } => wire::RolloutStep::StartingBeside,
        };
        return Some(rollout_of(program, rollout.revision, step, runs));
    }
    if let Some(AfterBuild::Nothing { revision, .. }) = program.state.building().map(|it| &it.then)
    {
        let step = wire::RolloutStep::BuildingOnly;
        return Some(rollout_of(program, *revision, step, None));
    }
    let fallback = program.fallback_at(now_ms)?.number;
    let step = step(program)?;
    let planned = program.current_revision()?;
    Some(rollout_of(program, planned, step, Some(fallback)))
}

fn rollout_of(
    program: &Program,
    number: RevisionNumber,
    step: wire::RolloutStep,
    fallback: Option<RevisionNumber>,
) -> wire::RolloutView {
    let revisions = program.revisions.as_ref();
    let revision = revisions.and_then(|revisions| revisions.get(number));
    let image = revision.and_then(|revision| revision.image.as_ref());
    wire::RolloutView {
        revision: number.0,
        step,
        fallback: fallback.map(|number| number.0),
        image_id: image.map(ToString::to_string),
    }
}

/// Returns how far a planned rollout is; `None` if the program does not go on with it.
fn step(program: &Program) -> Option<wire::RolloutStep> {
    match &program.state {
        State::Building(_) | State::Starting(_) => Some(wire::RolloutStep::Starting),
        State::Stopping(stopping) => match stopping.then {
            AfterStop::Start | AfterStop::Fail { .. } => Some(wire::RolloutStep::Starting),
            AfterStop::Stop { .. } | AfterStop::Remove => None,
        },
        State::Ready(_) => Some(wire::RolloutStep::Settling),
        State::Error(failed) => failed.retry.map(|_| wire::RolloutStep::Starting),
        State::Created | State::Stopped(_) | State::Removed => None,
    }
}

/// Returns the view of how the last rollout ended.
pub(super) fn last_rollout_view(program: &Program, now_ms: u64) -> Option<wire::RolloutEndView> {
    let revisions = program.revisions.as_ref()?;
    let plan = revisions.plan();
    let is_rollout = matches!(plan.kind, StartKind::Rollout { .. });
    match settled_at_ms(program, now_ms) {
        Some(at_ms) if is_rollout => Some(end_view(&RolloutEnd {
            revision: plan.revision,
            at_ms,
            outcome: RolloutOutcome::Settled,
        })),
        Some(_) | None => revisions.last_rollout().map(end_view),
    }
}

fn end_view(end: &RolloutEnd) -> wire::RolloutEndView {
    use wire::RolloutOutcome as Shown;
    let (outcome, to, by, cause) = match &end.outcome {
        RolloutOutcome::Settled => (Shown::Settled, None, None, None),
        RolloutOutcome::Failed { cause } => (Shown::Failed, None, None, Some(cause)),
        RolloutOutcome::RolledBack { to, cause } => {
            (Shown::RolledBack, Some(to), None, Some(cause))
        }
        RolloutOutcome::Superseded { by } => (Shown::Superseded, None, Some(by), None),
        RolloutOutcome::Stopped => (Shown::Stopped, None, None, None),
        RolloutOutcome::Built => (Shown::Built, None, None, None),
        RolloutOutcome::Cut => (Shown::Cut, None, None, None),
    };
    wire::RolloutEndView {
        revision: end.revision.0,
        outcome,
        at_ms: end.at_ms,
        to: to.map(|number| number.0),
        by: by.map(|number| number.0),
        cause: cause.map(|cause| cause_view(cause)),
    }
}

/// Returns since when the instance that is up counts as settled, if it does by now.
fn settled_at_ms(program: &Program, now_ms: u64) -> Option<u64> {
    program.settled_at_ms().filter(|at_ms| *at_ms <= now_ms)
}
