//! The journal as one program's driver sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hersh_machine::driver;
use hersh_program::{Lifecycle, ProgramRecord};

use super::{Journal, ProgramRow, RECORDS_KEPT, RECORDS_MAX};

/// The journal as one program's driver sees it. It keeps the program's history bounded.
pub(crate) struct ProgramJournal {
    journal: Journal,
    row: ProgramRow,
    last_event_ms: Arc<AtomicU64>,
    /// The record after which older ones are folded into the snapshot.
    compact_at: u64,
}

impl ProgramJournal {
    /// The journal of a program whose records after `snapshot_seq` are kept.
    pub(crate) fn new(
        journal: Journal,
        row: ProgramRow,
        last_event_ms: Arc<AtomicU64>,
        snapshot_seq: u64,
    ) -> Self {
        Self {
            journal,
            row,
            last_event_ms,
            compact_at: snapshot_seq + RECORDS_MAX,
        }
    }

    /// A failure only postpones it: what was appended stands.
    async fn compact(&mut self, seq: u64) {
        let until = seq.saturating_sub(RECORDS_KEPT);
        if let Err(error) = self.journal.compact(self.row, until).await {
            tracing::warn!(%error, "older events of a program were not folded; they stay until later");
        }
        self.compact_at = until + RECORDS_MAX;
    }
}

impl driver::Journal<Lifecycle> for ProgramJournal {
    async fn append(&mut self, record: &ProgramRecord) -> Result<(), driver::JournalError> {
        let stored = self.journal.append(self.row, record).await;
        stored.map_err(|error| driver::JournalError {
            message: error.to_string(),
        })?;
        self.last_event_ms.store(record.now_ms, Ordering::Relaxed);
        if record.seq >= self.compact_at {
            self.compact(record.seq).await;
        }
        Ok(())
    }
}
