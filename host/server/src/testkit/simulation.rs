//! What a simulation does to a host and sees of it that no user could.

use hersh_journal::{JournalError, StoredProgram};
use hersh_program::{Program, ProgramId, ProgramRecord, ProgramStepper};

use super::TestHost;
use crate::workers;

/// A program as the journal holds it, with its history.
pub struct ProgramHistory {
    /// Whose it is.
    pub owner: String,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// As it was created.
    pub first: Program,
    /// As it stands after its last record.
    pub program: Program,
    /// As it stood before that.
    pub before: Program,
    /// Every record that is kept.
    pub records: Vec<ProgramRecord>,
}

/// One record of a program, with the program before and after it.
pub struct ProgramStep<'a> {
    /// The program before the record.
    pub before: &'a Program,
    /// The record.
    pub record: &'a ProgramRecord,
    /// The program after it.
    pub after: &'a Program,
}

impl ProgramHistory {
    /// Shows `look` each step of the program's life, oldest first, until it fails. Shows none if the journal
    /// does not keep the oldest any more.
    ///
    /// # Errors
    /// What `look` fails with.
    pub fn replay<E>(
        &self,
        mut look: impl FnMut(&ProgramStep<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.records.first().is_some_and(|oldest| oldest.seq > 1) {
            return Ok(());
        }
        let mut stepper = ProgramStepper::new(self.first.clone());
        for record in &self.records {
            let before = stepper.state().clone();
            stepper.step_unchecked(record.event.clone(), record.now_ms);
            look(&ProgramStep {
                before: &before,
                record,
                after: stepper.state(),
            })?;
        }
        Ok(())
    }
}

impl TestHost {
    /// The host's time, milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.host.now_ms()
    }

    /// Sets the clock of a simulated host, milliseconds since the Unix epoch. It may jump back.
    pub fn set_clock(&self, now_ms: u64) {
        if let Some(simulated) = self.host.surroundings().as_simulated() {
            simulated.set_clock(now_ms);
        }
    }

    /// From now on the disks of a simulated host have no space, or have space again.
    pub fn set_disk_full(&self, is_full: bool) {
        if let Some(simulated) = self.host.surroundings().as_simulated() {
            simulated.set_disk_full(is_full);
        }
    }

    /// Looks at what running programs keep, as a host does every ten seconds.
    pub async fn look_at_state(&self) {
        workers::measure_all_states(&self.host).await;
    }

    /// What the journal holds, folded anew: every program, by id.
    ///
    /// # Errors
    /// [`JournalError`] when it can't be read, or does not fold.
    pub fn stored(&self) -> Result<Vec<ProgramHistory>, JournalError> {
        let stored = self.host.journal().load()?;
        let mut all: Vec<_> = stored
            .iter()
            .map(|stored| self.history(stored))
            .collect::<Result<_, _>>()?;
        all.sort_by(|one, other| one.program.id.cmp(&other.program.id));
        Ok(all)
    }

    /// Whose the program is as far as the host knows; `None` if it knows of none.
    #[must_use]
    pub fn owner(&self, program: &ProgramId) -> Option<String> {
        let entry = self.host.registry().get(program)?;
        Some(entry.owner().to_string())
    }

    fn history(&self, stored: &StoredProgram) -> Result<ProgramHistory, JournalError> {
        let journal = self.host.journal();
        let until = stored.stepper.seq().saturating_sub(1);
        let before = journal.load_until(stored.row, until)?;
        let first = journal.load_first(stored.row)?;
        let program = stored.stepper.state();
        let or_now = |then: Option<StoredProgram>| {
            let then = then.as_ref().map(|then| then.stepper.state());
            Program::clone(then.unwrap_or(program))
        };
        Ok(ProgramHistory {
            owner: stored.owner.clone(),
            created_at_ms: stored.created_at_ms,
            first: or_now(first),
            program: Program::clone(program),
            before: or_now(before),
            records: journal.records(stored.row, 0, usize::MAX)?,
        })
    }
}
