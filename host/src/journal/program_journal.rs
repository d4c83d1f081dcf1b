//! The journal as one program's driver sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hersh_base::right::Right;
use hersh_machine::driver;
use hersh_program::{Lifecycle, Program, ProgramRecord};

use super::{Journal, JournalError, ProgramRow, SNAPSHOT_EVERY};
use crate::{
    metrics::{Metrics, event_name},
    story::Story,
};

/// The journal as one program's driver sees it. It keeps the program's history bounded.
pub(crate) struct ProgramJournal {
    journal: Journal,
    row: ProgramRow,
    last_event_ms: Arc<AtomicU64>,
    /// The record after which the next snapshot is due.
    compact_at: u64,
    metrics: Metrics,
    story: Story,
}

impl ProgramJournal {
    /// The journal of a program whose snapshot is that of record `snapshot_seq`.
    pub(crate) fn new(
        journal: Journal,
        row: ProgramRow,
        last_event_ms: Arc<AtomicU64>,
        snapshot_seq: u64,
        metrics: Metrics,
        story: Story,
    ) -> Self {
        Self {
            journal,
            row,
            last_event_ms,
            compact_at: snapshot_seq + SNAPSHOT_EVERY,
            metrics,
            story,
        }
    }

    /// A failure only postpones it: what was appended stands.
    async fn compact(&mut self, seq: u64) {
        if let Err(error) = self.journal.compact(self.row, seq).await {
            tracing::warn!(%error, "a program's older events were not folded; they stay for now");
        }
        self.compact_at = seq + SNAPSHOT_EVERY;
    }
}

impl From<JournalError> for driver::JournalError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full => Self::Full,
            JournalError::Closed => Self::Closed,
            JournalError::Revoked => Self::Revoked,
            JournalError::Exists(_)
            | JournalError::NoOwner(_)
            | JournalError::Sqlite(_)
            | JournalError::Unreadable { .. }
            | JournalError::Diverged { .. } => Self::Other(error.to_string()),
        }
    }
}

impl driver::Journal<Lifecycle> for ProgramJournal {
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
        self.last_event_ms.store(record.now_ms, Ordering::Relaxed);
        self.metrics.event(event_name(&record.event));
        if record.seq >= self.compact_at {
            self.compact(record.seq).await;
        }
        Ok(())
    }

    fn stored(&mut self, program: &Box<Program>) {
        self.story
            .goes_on(program, self.last_event_ms.load(Ordering::Relaxed));
    }
}
