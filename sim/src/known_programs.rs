//! What the users know: which commands were acknowledged, and which may have been carried out
//! although no answer came. The journal must agree with it.
//!
//! ```text
//! begin ─► pending ─► end(status): done, or not done
//!             └── the host dies: perhaps done; the next look at the journal decides
//! ```

use std::collections::BTreeMap;

use hersh_host::testkit::ProgramHistory;
use hersh_program::ProgramId;

use crate::command::{CommandAnswer, CommandKind};

/// A program that its users know.
#[derive(Clone, Debug)]
pub(crate) struct KnownProgram {
    pub(crate) owner: String,
    /// Tells programs of one name from each other.
    pub(crate) created_at_ms: u64,
    /// The last command, if it is clear which one came last.
    pub(crate) last_command: Option<CommandKind>,
    done: BTreeMap<CommandKind, u64>,
    uncertain: BTreeMap<CommandKind, u64>,
}

impl KnownProgram {
    /// Whether somebody gave a command of this kind, with or without success.
    pub(crate) fn may_have_been(&self, kind: CommandKind) -> bool {
        [&self.done, &self.uncertain]
            .iter()
            .any(|commands| commands.contains_key(&kind))
    }
}

/// A command that has no answer yet.
#[derive(Debug)]
struct PendingCommand {
    name: String,
    created_at_ms: Option<u64>,
    kind: CommandKind,
    /// No other command for the same program was under way meanwhile.
    alone: bool,
}

/// A create that has no answer yet.
#[derive(Debug)]
struct PendingCreate {
    name: Option<String>,
    owner: String,
}

#[derive(Debug, Default)]
pub(crate) struct KnownPrograms {
    pub(crate) programs: BTreeMap<String, KnownProgram>,
    pending: BTreeMap<u64, PendingCommand>,
    creating: BTreeMap<u64, PendingCreate>,
    /// Commands that were acknowledged while their name was being created: perhaps by the program that its
    /// creator does not know of yet.
    early: BTreeMap<String, BTreeMap<CommandKind, u64>>,
    next: u64,
}

impl KnownPrograms {
    /// Names of the programs of `owner`, of all of them if `None`.
    pub(crate) fn names(&self, owner: Option<&str>) -> Vec<String> {
        let all = self.programs.iter();
        all.filter(|(_, known)| owner.is_none_or(|owner| known.owner == owner))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Notes a command that is about to be sent, and returns its number.
    pub(crate) fn begin(&mut self, name: &str, kind: CommandKind) -> u64 {
        let mut alone = true;
        for other in self.pending.values_mut().filter(|it| it.name == name) {
            other.alone = false;
            alone = false;
        }
        let created_at_ms = self.programs.get(name).map(|known| known.created_at_ms);
        let pending = PendingCommand {
            name: name.to_owned(),
            created_at_ms,
            kind,
            alone,
        };
        self.next += 1;
        self.pending.insert(self.next, pending);
        self.next
    }

    /// Notes the answer to a command.
    pub(crate) fn end(&mut self, number: u64, answer: CommandAnswer) -> Result<(), String> {
        match answer {
            CommandAnswer::Status(status) => self.end_with(number, status),
            CommandAnswer::NoEarlierRevision => {
                self.pending.remove(&number);
                Ok(())
            }
            // It may be in the journal, and changed nothing.
            CommandAnswer::NoSuchRevision => {
                if let Some(pending) = self.pending.remove(&number)
                    && let Some(known) = self.programs.get_mut(&pending.name)
                {
                    *known.uncertain.entry(pending.kind).or_default() += 1;
                }
                Ok(())
            }
        }
    }

    fn end_with(&mut self, number: u64, status: u16) -> Result<(), String> {
        let Some(pending) = self.pending.remove(&number) else {
            return Ok(());
        };
        let is_being_removed = self.is_being_removed(&pending.name);
        if matches!(status, 200 | 202 | 204 | 504) {
            self.note_early(&pending);
        }
        let Some(known) = self.programs.get_mut(&pending.name) else {
            return Ok(());
        };
        let same = pending.created_at_ms == Some(known.created_at_ms);
        match status {
            200 | 202 | 204 | 504 if same => {
                *known.done.entry(pending.kind).or_default() += 1;
                known.note_last(pending.kind, pending.alone);
            }
            // Only a program that is being removed, or is gone, may answer with 404.
            404 if same && !is_being_removed && pending.kind != CommandKind::Delete => {
                return Err(format!(
                    "{} is acknowledged and not there: {pending:?}",
                    pending.name
                ));
            }
            // A removal that failed may still be in the journal.
            503 if pending.kind == CommandKind::Delete => {
                *known.uncertain.entry(pending.kind).or_default() += 1;
                known.note_last(pending.kind, false);
            }
            200 | 202 | 204 | 404 | 409 | 504 => {
                *known.uncertain.entry(pending.kind).or_default() += 1;
                known.note_last(pending.kind, false);
            }
            // Anything else was not done.
            _refused => {}
        }
        Ok(())
    }

    /// Notes a create that is about to be sent, and returns its number.
    pub(crate) fn begin_create(&mut self, name: Option<&str>, owner: &str) -> u64 {
        self.next += 1;
        let creating = PendingCreate {
            name: name.map(ToOwned::to_owned),
            owner: owner.to_owned(),
        };
        self.creating.insert(self.next, creating);
        self.next
    }

    /// Notes the answer to a create, with the name and time of what was created, if anything was.
    pub(crate) fn end_create(
        &mut self,
        number: u64,
        created: Option<(String, u64)>,
    ) -> Result<(), String> {
        let Some(creating) = self.creating.remove(&number) else {
            return Ok(());
        };
        if let Some((name, created_at_ms)) = created {
            self.appeared(name, creating.owner, created_at_ms)?;
        }
        if let Some(name) = creating.name
            && !self.is_being_created(&name)
        {
            self.early.remove(&name);
        }
        Ok(())
    }

    fn note_early(&mut self, command: &PendingCommand) {
        if self.is_being_created(&command.name) {
            let early = self.early.entry(command.name.clone()).or_default();
            *early.entry(command.kind).or_default() += 1;
        }
    }

    fn is_being_created(&self, name: &str) -> bool {
        let mut names = self.creating.values().filter_map(|it| it.name.as_deref());
        names.any(|creating| creating == name)
    }

    /// Returns whether a program may be removed at any time, or is gone.
    pub(crate) fn is_being_removed(&self, name: &str) -> bool {
        let pending = self.pending.values();
        let mut deletes = pending.filter(|it| it.name == name && it.kind == CommandKind::Delete);
        let known = self.programs.get(name);
        deletes.next().is_some() || known.is_none_or(KnownProgram::may_be_deleted)
    }

    /// Notes that the host died: the commands under way get no answer.
    pub(crate) fn crash(&mut self) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.note_early(&pending);
            if let Some(known) = self.programs.get_mut(&pending.name) {
                *known.uncertain.entry(pending.kind).or_default() += 1;
                known.note_last(pending.kind, false);
            }
        }
    }

    /// Compares what the users know with the journal of a host that has just started.
    pub(crate) fn compare(&mut self, stored: &[ProgramHistory]) -> Result<(), String> {
        let creating = std::mem::take(&mut self.creating);
        for stored in stored {
            let name = stored.program.id.to_string();
            let known = self.programs.get(&name);
            if known.map(|known| known.created_at_ms) != Some(stored.created_at_ms) {
                let asked_for = creating.values().any(|creating| {
                    creating.owner == stored.owner
                        && creating.name.as_ref().is_none_or(|asked| *asked == name)
                });
                if !asked_for {
                    return Err(format!("nobody asked for {name} of {}", stored.owner));
                }
                self.appeared(name.clone(), stored.owner.clone(), stored.created_at_ms)?;
            }
            if let Some(known) = self.programs.get_mut(&name) {
                known.compare(stored)?;
            }
        }
        let is_stored = |name: &str| stored.iter().any(|it| it.program.id.as_str() == name);
        for (name, known) in &self.programs {
            if !is_stored(name) && !known.may_be_deleted() {
                return Err(format!("{name} was acknowledged and is lost: {known:?}"));
            }
        }
        self.programs.retain(|name, _| is_stored(name));
        self.early.clear();
        Ok(())
    }

    fn appeared(&mut self, name: String, owner: String, created_at_ms: u64) -> Result<(), String> {
        if let Some(known) = self.programs.get(&name) {
            if known.created_at_ms == created_at_ms {
                return Ok(());
            }
            if !self.is_being_removed(&name) {
                return Err(format!("{name} was created while it was there: {known:?}"));
            }
        }
        let known = KnownProgram {
            owner,
            created_at_ms,
            last_command: None,
            done: BTreeMap::new(),
            uncertain: self.early.remove(&name).unwrap_or_default(),
        };
        self.programs.insert(name, known);
        Ok(())
    }
}

impl KnownProgram {
    fn note_last(&mut self, kind: CommandKind, is_clear: bool) {
        match kind {
            // They change nothing of whether the program runs.
            CommandKind::Replace | CommandKind::Build => {}
            CommandKind::Start
            | CommandKind::Stop
            | CommandKind::Restart
            | CommandKind::RollBack(_)
            | CommandKind::Delete => self.last_command = is_clear.then_some(kind),
        }
    }

    fn may_be_deleted(&self) -> bool {
        self.done.contains_key(&CommandKind::Delete)
            || self.uncertain.contains_key(&CommandKind::Delete)
    }

    /// Checks that every acknowledged command is in the journal exactly once, and no command that
    /// nobody gave.
    fn compare(&mut self, stored: &ProgramHistory) -> Result<(), String> {
        let name = &stored.program.id;
        if self.owner != stored.owner {
            return Err(format!(
                "{name} is of {} and not {}",
                stored.owner, self.owner
            ));
        }
        let events = stored.records.iter().map(|record| &record.event);
        let mut journaled: BTreeMap<CommandKind, u64> = BTreeMap::new();
        for kind in events.filter_map(CommandKind::of) {
            *journaled.entry(kind).or_default() += 1;
        }
        for kind in CommandKind::PLAIN {
            let found = journaled.get(&kind).copied().unwrap_or(0);
            let done = self.done.get(&kind).copied().unwrap_or(0);
            let uncertain = self.uncertain.get(&kind).copied().unwrap_or(0);
            // A delete that finds the program gone leaves no event.
            let least = if kind == CommandKind::Delete {
                done.min(1)
            } else {
                done
            };
            if !(least..=done + uncertain).contains(&found) {
                return Err(format!(
                    "the journal of {name} has {found} times {kind:?}, acknowledged were {done}, perhaps {uncertain} more"
                ));
            }
            if found > 0 {
                self.done.insert(kind, found);
            }
        }
        self.compare_roll_backs(name, &journaled)?;
        self.uncertain.clear();
        Ok(())
    }

    /// Does the same for roll-backs. One that named no revision may have gone to any.
    fn compare_roll_backs(
        &mut self,
        name: &ProgramId,
        journaled: &BTreeMap<CommandKind, u64>,
    ) -> Result<(), String> {
        let is_roll_back = |kind: &CommandKind| matches!(kind, CommandKind::RollBack(_));
        let all = |commands: &BTreeMap<CommandKind, u64>| -> u64 {
            let of = commands.iter().filter(|(kind, _)| is_roll_back(kind));
            of.map(|(_, count)| count).sum()
        };
        let (found, done, uncertain) = (all(journaled), all(&self.done), all(&self.uncertain));
        let named = self
            .done
            .iter()
            .filter(|(kind, _)| is_roll_back(kind) && **kind != CommandKind::RollBack(None));
        let mut named = named.map(|(kind, done)| (journaled.get(kind).copied(), done));
        let is_lost = named.any(|(found, done)| found.unwrap_or(0) < *done);
        if is_lost || !(done..=done + uncertain).contains(&found) {
            return Err(format!(
                "the journal of {name} has {journaled:?}, acknowledged were {:?}, perhaps {:?} more",
                self.done, self.uncertain
            ));
        }
        self.done.retain(|kind, _| !is_roll_back(kind));
        let roll_backs = journaled.iter().filter(|(kind, _)| is_roll_back(kind));
        self.done.extend(roll_backs);
        Ok(())
    }
}
