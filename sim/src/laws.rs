//! What must hold, always and at the end.

use std::collections::BTreeMap;

use hersh_host::testkit::{ProgramHistory, TestHost};
use hersh_program::{
    Cause, ContainerId, InstanceId, InstanceNumber, Program, ProgramId, Revisions, State,
};
use serde_json::Value;

use crate::{
    command::CommandKind,
    fault_plan::Fault,
    interrupted,
    known_programs::KnownProgram,
    revisions,
    shared::{ADMIN, Ask, Shared},
    silence,
};

type Outcome = Result<(), String>;

const MIB: u64 = 1 << 20;

/// Holds the host, its engine and the quotas against each other; between any two steps.
pub(crate) fn at_any_time(shared: &Shared, host: &TestHost) -> Outcome {
    let programs = host.programs();
    let running = shared.engine.containers();
    for program in &programs {
        let own = running.iter().filter(|(it, _)| it.program == program.id);
        let own: BTreeMap<InstanceNumber, &ContainerId> =
            own.map(|(it, container)| (it.number, container)).collect();
        check_count(program, &own)?;
        check_container(shared, program, &own)?;
        revisions::planned_runs(shared, program)?;
    }
    let is_known = |id: &ProgramId| programs.iter().any(|program| program.id == *id);
    let is_unowned = |(instance, container): &(&InstanceId, &ContainerId)| {
        !is_known(&instance.program) && !shared.fault_plan.was_left_behind(container)
    };
    match running.iter().find(is_unowned) {
        Some((instance, _)) => Err(format!("{instance} runs and no program owns it")),
        None => check_quotas(shared, host, &programs),
    }
}

/// Two instances run at once only of a program with overlap, and the program accounts for both.
fn check_count(program: &Program, own: &BTreeMap<InstanceNumber, &ContainerId>) -> Outcome {
    let kept = program.revisions.iter().flat_map(Revisions::iter);
    let mut manifests = kept.map(|revision| &revision.source.manifest);
    let overlaps = manifests.any(|manifest| !manifest.deploy.keeps_state());
    let is_accounted = own.keys().all(|number| program.accounts_for(*number));
    let both = [Some(program.manifest()), program.manifest_beside()];
    let both = both.into_iter().flatten();
    let writers = both
        .filter(|manifest| manifest.deploy.keeps_state())
        .count();
    match own.len() {
        0 | 1 => Ok(()),
        2 if overlaps && is_accounted && writers <= 1 => Ok(()),
        _many => Err(format!(
            "{} runs too often: {own:?}, {program:?}",
            program.id
        )),
    }
}

/// A Ready program runs in its container unless somebody ended that; at rest nothing runs.
fn check_container(
    shared: &Shared,
    program: &Program,
    own: &BTreeMap<InstanceNumber, &ContainerId>,
) -> Outcome {
    let id = &program.id;
    let mut runs = own.values();
    match &program.state {
        State::Ready(ready) if !own.values().any(|it| **it == ready.container) => {
            match shared.fault_plan.was_ended_from_outside(&ready.container) {
                true => Ok(()),
                false => Err(format!("{id} is Ready and was interrupted: {own:?} runs")),
            }
        }
        State::Error(failed)
            if matches!(*failed.cause, Cause::ImageGone { .. }) && planned_image(program) =>
        {
            Err(format!("{id} goes on with an image that is gone"))
        }
        State::Created | State::Stopped(_) | State::Removed
            if runs.any(|it| !shared.fault_plan.was_left_behind(it)) =>
        {
            Err(format!("{id} is {} and runs", program.state.name()))
        }
        State::Created
        | State::Building(_)
        | State::Starting(_)
        | State::Ready(_)
        | State::Stopping(_)
        | State::Stopped(_)
        | State::Error(_)
        | State::Removed => Ok(()),
    }
}

/// Returns whether the program's next automatic start goes on with an image.
fn planned_image(program: &Program) -> bool {
    let next = program.revisions_to_come(u64::MAX);
    next.first()
        .is_some_and(|revision| revision.image.is_some())
}

/// What is started of a user's, and what is there at all, is not more than was ever allowed.
fn check_quotas(shared: &Shared, host: &TestHost, programs: &[Program]) -> Outcome {
    let running = shared.engine.memory_bytes();
    let mut used: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for program in programs {
        let Some(owner) = host.owner(&program.id) else {
            continue;
        };
        let wanted_bytes = match will_run(program) {
            true => most_memory_bytes(program),
            false => 0,
        };
        let given_bytes = running.get(&program.id).copied().unwrap_or(0);
        let memory_mib = wanted_bytes.max(given_bytes) / MIB;
        let shown = format!("{} {}", program.id, program.state.name());
        used.entry(owner).or_default().push((shown, memory_mib));
    }
    let people = shared.people();
    for (owner, programs) in used {
        let Some(most) = people.get(&owner).and_then(|person| person.most) else {
            continue;
        };
        let memory_mib: u64 = programs.iter().map(|(_, memory_mib)| memory_mib).sum();
        if programs.len() as u64 > most.programs || memory_mib > most.memory_mib {
            return Err(format!(
                "{owner} has {programs:?} (MiB started), allowed were {most:?} at most"
            ));
        }
    }
    Ok(())
}

/// Returns the memory of the largest revision of which an instance may run without a further check.
fn most_memory_bytes(program: &Program) -> u64 {
    let next = program.revisions_to_come(u64::MAX);
    let manifests = next.iter().map(|revision| &revision.source.manifest);
    let wanted = [&program.source.manifest].into_iter();
    let memory = wanted.chain(manifests).map(|it| it.limits.memory_bytes);
    let one_bytes = memory.max().unwrap_or_default();
    let beside = program.manifest_beside().map(|it| it.limits.memory_bytes);
    let both_bytes = beside.map(|beside| beside + program.manifest().limits.memory_bytes);
    one_bytes.max(both_bytes.unwrap_or_default())
}

fn will_run(program: &Program) -> bool {
    match &program.state {
        State::Building(building) => building.then.is_start(),
        State::Starting(_) | State::Ready(_) => true,
        State::Error(failed) => failed.retry.is_some(),
        State::Created | State::Stopping(_) | State::Stopped(_) | State::Removed => false,
    }
}

/// What the host shows is the fold of its journal, or of all but the last record, which nobody
/// has heard of yet.
pub(crate) fn is_fold(host: &TestHost, stored: &[ProgramHistory]) -> Outcome {
    for program in host.programs() {
        let Some(stored) = stored.iter().find(|it| it.program.id == program.id) else {
            // Forgotten in the journal, and in memory in a moment.
            match program.state {
                State::Removed => continue,
                State::Created
                | State::Building(_)
                | State::Starting(_)
                | State::Ready(_)
                | State::Stopping(_)
                | State::Stopped(_)
                | State::Error(_) => return Err(format!("{} is not stored", program.id)),
            }
        };
        if program != stored.program && program != stored.before {
            return Err(format!(
                "{} is not the fold of its journal: {program:?} instead of {:?}",
                program.id, stored.program
            ));
        }
    }
    Ok(())
}

/// Each step that the journal holds was right.
pub(crate) fn history_is_right(shared: &Shared, stored: &ProgramHistory) -> Outcome {
    interrupted::was_not(shared, stored)?;
    silence::is_told_truly(shared, stored)?;
    revisions::each_step_is_right(stored)
}

/// Whether a program can't start because somebody had it removed and a fault ended that late: its source
/// went first. Without such a command no source may ever be missing.
fn is_half_removed(known: &KnownProgram, cause: &Cause) -> bool {
    let lacks_source = matches!(cause, Cause::BuildFailed { message, .. }
        if message.contains("its source is not on this machine"));
    lacks_source && known.may_have_been(CommandKind::Delete)
}

/// Once all is quiet: each program is where its last command leads, or a fault that was made says why
/// not.
pub(crate) fn last_commands_are_carried_out(
    shared: &Shared,
    host: &TestHost,
    stored: &[ProgramHistory],
) -> Outcome {
    let running = shared.engine.running();
    let known_programs = shared.known_programs();
    for stored in stored {
        let known = known_programs.programs.get(stored.program.id.as_str());
        revisions::come_from_commands(stored, known.and_then(|known| known.last_command))?;
    }
    for program in host.programs() {
        let known = known_programs.programs.get(program.id.as_str());
        let last_command = known.and_then(|known| known.last_command);
        let runs = running.contains_key(&program.id);
        let made = |fault| shared.fault_plan.has_made(&program.id, fault);
        let is_fulfilled = match (&program.state, last_command) {
            (
                State::Ready(_),
                Some(CommandKind::Start | CommandKind::Restart | CommandKind::RollBack(_)) | None,
            ) => runs,
            (State::Created | State::Stopped(_), Some(CommandKind::Stop) | None) => !runs,
            (
                State::Stopped(_),
                Some(CommandKind::Start | CommandKind::Restart | CommandKind::RollBack(_)),
            ) => made(Fault::ExitsClean) && !runs,
            (State::Error(failed), _) => {
                shared.fault_plan.explains(&program.id, &failed.cause)
                    || known.is_some_and(|known| is_half_removed(known, &failed.cause))
            }
            _elsewhere => false,
        };
        if !is_fulfilled {
            return Err(format!(
                "{last_command:?} was wished last, and this came of it: {program:?}"
            ));
        }
    }
    Ok(())
}

/// Every acknowledged change has its row.
pub(crate) async fn audit_is_whole(shared: &Shared, host: &TestHost) -> Outcome {
    let mut rows: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let mut path = "/audit?limit=1000".to_owned();
    loop {
        let ask = Ask {
            user: ADMIN,
            key: None,
            method: "GET",
            path,
            body: String::new(),
        };
        let (_, page) = shared.ask(host, ask).await?;
        for row in page["changes"].as_array().into_iter().flatten() {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let method = text("action");
            let method = method.split(' ').next().unwrap_or_default().to_owned();
            *rows
                .entry((text("user_id"), method, text("target")))
                .or_default() += row["count"].as_u64().unwrap_or(1);
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/audit?limit=1000&cursor={cursor}"),
            None => break,
        }
    }
    for (change, owed) in shared.owed().iter() {
        let found = rows.get(change).copied().unwrap_or(0);
        if found < *owed {
            return Err(format!(
                "{change:?} was acknowledged {owed} times and is in the audit log {found} times"
            ));
        }
    }
    Ok(())
}

/// Quotas that were acknowledged are in force.
pub(crate) async fn quotas_are_kept(shared: &Shared, host: &TestHost) -> Outcome {
    let people = shared.people().clone();
    for (name, person) in people {
        let Some(allowed) = person.allowed else {
            continue;
        };
        let ask = Ask {
            user: ADMIN,
            key: None,
            method: "GET",
            path: format!("/users/{name}"),
            body: String::new(),
        };
        let (_, user) = shared.ask(host, ask).await?;
        let programs: &Value = &user["quota"]["programs"];
        if *programs != allowed.programs {
            return Err(format!("{name} was given {allowed:?} and has {user}"));
        }
    }
    Ok(())
}
