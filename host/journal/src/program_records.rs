//! The records of one program, as the program's driver appends them.

use hersh_base::right::Right;
use hersh_machine::driver;
use hersh_program::{Lifecycle, ProgramRecord};

use super::{Journal, ProgramRow, retention::SNAPSHOT_EVERY};

/// Appends the records of one program to the journal, and keeps the program's history bounded.
#[derive(Debug)]
pub struct ProgramRecords {
    journal: Journal,
    row: ProgramRow,
    /// The record after which the next snapshot is due.
    compact_at: u64,
}

impl ProgramRecords {
    /// Returns the records of the program in `row`, whose snapshot is that of record `snapshot_seq`; 0
    /// without a snapshot.
    #[must_use]
    pub fn new(journal: Journal, row: ProgramRow, snapshot_seq: u64) -> Self {
        Self {
            journal,
            row,
            compact_at: snapshot_seq + SNAPSHOT_EVERY,
        }
    }

    /// Folds the program's older events. A failure only postpones this: the records that were appended stay.
    async fn compact(&mut self, seq: u64) {
        if let Err(error) = self.journal.compact(self.row, seq).await {
            tracing::warn!(%error, "a program's older events were not folded; they stay for now");
        }
        self.compact_at = seq + SNAPSHOT_EVERY;
    }
}

impl driver::Journal<Lifecycle> for ProgramRecords {
    async fn append(&mut self, record: &ProgramRecord) -> Result<(), driver::JournalError> {
        self.append_by(record, None).await
    }

    async fn append_by(
        &mut self,
        record: &ProgramRecord,
        right: Option<&driver::Right>,
    ) -> Result<(), driver::JournalError> {
        let right = right.and_then(|right| right.downcast_ref::<Right>());
        self.journal.append_by(self.row, record, right).await?;
        if record.seq >= self.compact_at {
            self.compact(record.seq).await;
        }
        Ok(())
    }
}
