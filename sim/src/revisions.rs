//! What must hold of a program's revisions: which one is wanted, which one runs, and which ones are kept.
//!
//! ```text
//! each record ─► wanted: as a command says, or back from a revision that failed
//! the end     ─► planned: what the last command asked for, or what a failure led back to
//! ```

use std::collections::BTreeSet;

use hersh_host::testkit::{ProgramHistory, ProgramStep, TestHost};
use hersh_program::{
    Effect, Event, Program, Refusal, RevisionNumber, Revisions, RolloutEnd, RolloutOutcome,
};
use serde_json::Value;

use crate::{
    command::{CommandAnswer, CommandKind},
    shared::Shared,
};

type Outcome = Result<(), String>;

/// What an answer says of a command.
pub(crate) fn answer_of(kind: CommandKind, status: u16, answer: &Value) -> CommandAnswer {
    let says = |words: &str| {
        let detail = answer["detail"].as_str().unwrap_or_default();
        matches!(kind, CommandKind::RollBack(_)) && detail.contains(words)
    };
    match status {
        404 if says("there is no revision") => CommandAnswer::NoSuchRevision,
        409 if says("no earlier revision") => CommandAnswer::NoEarlierRevision,
        _any => CommandAnswer::Status(status),
    }
}

/// A revision that is kept is not denied: one that was forgotten never comes back.
pub(crate) fn check_answer(
    host: &TestHost,
    name: &str,
    kind: CommandKind,
    answer: CommandAnswer,
) -> Outcome {
    let (CommandKind::RollBack(Some(denied)), CommandAnswer::NoSuchRevision) = (kind, answer)
    else {
        return Ok(());
    };
    let programs = host.programs();
    let program = programs.iter().find(|it| it.id.as_str() == name);
    match program.is_some_and(|program| is_kept(program, denied)) {
        true => Err(format!("{name} keeps revision {denied} and denied it")),
        false => Ok(()),
    }
}

/// The numbers in a list of revisions: newest first, one of them wanted.
pub(crate) fn listed(list: &Value) -> Result<Vec<RevisionNumber>, String> {
    let revisions = list["revisions"].as_array().map_or(&[][..], Vec::as_slice);
    let numbers: Vec<u64> = revisions
        .iter()
        .filter_map(|it| it["revision"].as_u64())
        .collect();
    let wanted = revisions.iter().filter(|it| it["wanted"] == true).count();
    let is_sorted = numbers.is_sorted_by(|one, next| one > next);
    if !is_sorted || wanted != 1 && !revisions.is_empty() {
        return Err(format!("a list of revisions is wrong: {list}"));
    }
    Ok(numbers.into_iter().map(RevisionNumber).collect())
}

/// The instance of a program that is Ready is made of the planned revision.
pub(crate) fn planned_runs(shared: &Shared, program: &Program) -> Outcome {
    let builds = shared.engine.builds();
    let runs = program.state.container().and_then(|it| builds.get(it));
    let Some((runs, revisions)) = runs.zip(program.revisions.as_ref()) else {
        return Ok(());
    };
    let planned = revisions.plan().revision;
    let build = revisions.get(planned).map(|it| &it.source.build);
    match build == Some(runs) {
        true => Ok(()),
        false => Err(format!(
            "{} plans revision {planned}, of {build:?}, and runs {runs}",
            program.id
        )),
    }
}

/// Each step of a program's life treats its revisions right.
pub(crate) fn each_step_is_right(stored: &ProgramHistory) -> Outcome {
    stored.replay(|step| {
        let checked = check_refusal(step)
            .and_then(|()| check_wanted(step))
            .and_then(|()| check_kept(step));
        checked.map_err(|law| {
            let (id, record) = (&step.after.id, step.record);
            format!("{id}, record {} ({:?}): {law}", record.seq, record.event)
        })
    })
}

/// A command that is refused changes nothing, and a roll-back is refused exactly if its revision is not kept.
fn check_refusal(step: &ProgramStep<'_>) -> Outcome {
    let refusal = refusal(step);
    let is_removal = matches!(refusal, Some(Refusal::BeingRemoved));
    if let Event::UserRollBackRequested { revision } = step.record.event
        && !is_removal
        && is_kept(step.before, revision) == is_unknown(refusal)
    {
        return Err(format!("{refusal:?} of revision {revision}"));
    }
    let is_changed = match refusal {
        Some(Refusal::BeingRemoved | Refusal::Busy { .. } | Refusal::NoSuchRevision { .. }) => {
            step.before != step.after
        }
        Some(Refusal::Already { .. }) => is_changed_already(step),
        None => false,
    };
    match is_changed {
        true => Err(format!("it was refused, and now is {:?}", step.after)),
        false => Ok(()),
    }
}

/// Returns whether a command changed something of which the answer was that it is so already.
fn is_changed_already(step: &ProgramStep<'_>) -> bool {
    let is_wanted_still = step.before.wanted_revision() == step.after.wanted_revision();
    step.before.state != step.after.state || !is_wanted_still
}

/// Only a command chooses the wanted revision, and the end of a rollout that failed takes the choice back.
fn check_wanted(step: &ProgramStep<'_>) -> Outcome {
    let (before, after) = (step.before.wanted_revision(), step.after.wanted_revision());
    let refusal = refusal(step);
    let is_refused = is_unknown(refusal) || matches!(refusal, Some(Refusal::BeingRemoved));
    let command = CommandKind::of(&step.record.event).filter(|_| !is_refused);
    let expected = match command {
        Some(CommandKind::Replace) => newest(step.before).map(next),
        Some(CommandKind::RollBack(revision)) => revision,
        Some(
            CommandKind::Start
            | CommandKind::Stop
            | CommandKind::Restart
            | CommandKind::Build
            | CommandKind::Delete,
        )
        | None => before.map(|wanted| led_back(wanted, step)),
    };
    match expected == after {
        true => Ok(()),
        false => Err(format!(
            "{before:?} was wanted, {after:?} is, and {expected:?} should be"
        )),
    }
}

/// The last good revision and the newest ten stay, and only what was started turns out to be good.
fn check_kept(step: &ProgramStep<'_>) -> Outcome {
    let (before, after) = (good(step.before), good(step.after));
    let lost = before
        .last()
        .filter(|last| after.last().is_none_or(|now| now < *last));
    if let Some(lost) = lost {
        return Err(format!("the last good revision, {lost}, is lost"));
    }
    let planned = step.before.current_revision();
    if let Some(turned) = after.difference(&before).find(|it| Some(**it) != planned) {
        return Err(format!("revision {turned} is good and was not started"));
    }
    let newest = newest(step.after).map_or(0, |it| it.0);
    let oldest = newest.saturating_sub(Revisions::KEPT as u64) + 1;
    let mut young = (oldest..=newest).map(RevisionNumber);
    match young.find(|it| !is_kept(step.after, *it)) {
        Some(lost) => Err(format!(
            "revision {lost} is lost, and {newest} is the newest"
        )),
        None => Ok(()),
    }
}

/// Once all is quiet: the journal's last command is the one that users know of, and the planned revision is what
/// the last command that starts something asked for, or what a failure led back to since.
pub(crate) fn come_from_commands(
    stored: &ProgramHistory,
    last_known: Option<CommandKind>,
) -> Outcome {
    let id = &stored.program.id;
    let (mut asked, mut last) = (None, None);
    // What a roll-back without a number may go to.
    let mut started = BTreeSet::new();
    let mut is_replayed = false;
    stored.replay(|step| {
        asked = asked_after(asked, step);
        last = last_after(last, step);
        started.extend(step.before.current_revision());
        is_replayed = true;
        Outcome::Ok(())
    })?;
    let is_known = match (last_known, last) {
        (Some(CommandKind::RollBack(None)), Some(CommandKind::RollBack(to))) => {
            to.is_some_and(|to| started.contains(&to))
        }
        (Some(known), last) => last == Some(known),
        (None, _) => true,
    };
    if is_replayed && !is_known {
        return Err(format!(
            "{id}: {last_known:?} was given last, and the journal ends with {last:?}"
        ));
    }
    let planned = stored.program.current_revision();
    // Of many revisions that are deployed at once, the first may be forgotten before it is built.
    let asked = asked.filter(|asked| is_kept(&stored.program, *asked));
    match asked.is_none() || planned == asked {
        true => Ok(()),
        false => Err(format!(
            "{id}: {asked:?} was to be started, and {planned:?} is planned: {:?}",
            stored.program
        )),
    }
}

/// The revision that is to run after this step as far as `asked` was before; `None` once a stop was asked for.
fn asked_after(asked: Option<RevisionNumber>, step: &ProgramStep<'_>) -> Option<RevisionNumber> {
    let asked = match (CommandKind::of(&step.record.event), refusal(step)) {
        (
            _,
            Some(Refusal::BeingRemoved | Refusal::Busy { .. } | Refusal::NoSuchRevision { .. }),
        ) => asked,
        (Some(CommandKind::RollBack(revision)), _) => revision,
        (Some(CommandKind::Restart), _) | (Some(CommandKind::Start), None) => {
            step.after.wanted_revision()
        }
        (Some(CommandKind::Stop | CommandKind::Delete), _) => None,
        (Some(CommandKind::Start), Some(Refusal::Already { .. })) => asked,
        (Some(CommandKind::Replace | CommandKind::Build) | None, _) => asked,
    };
    asked.map(|asked| led_back(asked, step))
}

fn last_after(last: Option<CommandKind>, step: &ProgramStep<'_>) -> Option<CommandKind> {
    match (CommandKind::of(&step.record.event), refusal(step)) {
        (
            _,
            Some(Refusal::BeingRemoved | Refusal::Busy { .. } | Refusal::NoSuchRevision { .. }),
        )
        | (Some(CommandKind::Replace | CommandKind::Build) | None, _) => last,
        (Some(command), Some(Refusal::Already { .. }) | None) => Some(command),
    }
}

/// The end of a rollout that this step noted.
fn end_of_rollout<'a>(step: &ProgramStep<'a>) -> Option<&'a RolloutEnd> {
    let end = |program: &'a Program| program.revisions.as_ref()?.last_rollout();
    end(step.after).filter(|now| end(step.before) != Some(*now))
}

/// What takes the place of `revision` in this step: another one if a rollout of it failed, else itself.
fn led_back(revision: RevisionNumber, step: &ProgramStep<'_>) -> RevisionNumber {
    let end = end_of_rollout(step).filter(|end| end.revision == revision);
    let back = match end.map(|end| &end.outcome) {
        // The one that runs was never touched.
        Some(RolloutOutcome::Failed { .. }) if step.before.state.ready().is_some() => {
            step.after.current_revision()
        }
        // A build alone of a program at rest failed: nothing else is there to be wanted.
        Some(RolloutOutcome::Failed { .. }) => None,
        Some(RolloutOutcome::RolledBack { to, .. }) => Some(*to),
        Some(
            RolloutOutcome::Settled
            | RolloutOutcome::Superseded { .. }
            | RolloutOutcome::Stopped
            | RolloutOutcome::Built
            | RolloutOutcome::Cut,
        )
        | None => None,
    };
    back.unwrap_or(revision)
}

fn refusal<'a>(step: &ProgramStep<'a>) -> Option<&'a Refusal> {
    let mut effects = step.record.effects.iter();
    effects.find_map(|(_, effect)| match effect {
        Effect::Refuse { refusal } => Some(refusal),
        Effect::EnsureProgramFolders { .. }
        | Effect::BuildImage { .. }
        | Effect::StartInstance { .. }
        | Effect::StopInstances { .. }
        | Effect::ObserveInstance { .. }
        | Effect::ScheduleRetry { .. }
        | Effect::RemoveProgram { .. }
        | Effect::Cancel { .. } => None,
    })
}

fn is_unknown(refusal: Option<&Refusal>) -> bool {
    matches!(refusal, Some(Refusal::NoSuchRevision { .. }))
}

fn is_kept(program: &Program, revision: RevisionNumber) -> bool {
    let revisions = program.revisions.as_ref();
    revisions.is_some_and(|revisions| revisions.get(revision).is_some())
}

fn good(program: &Program) -> BTreeSet<RevisionNumber> {
    let kept = program.revisions.iter().flat_map(Revisions::iter);
    kept.filter(|it| it.is_good).map(|it| it.number).collect()
}

fn newest(program: &Program) -> Option<RevisionNumber> {
    Some(program.revisions.as_ref()?.iter().next_back()?.number)
}

fn next(revision: RevisionNumber) -> RevisionNumber {
    RevisionNumber(revision.0 + 1)
}
