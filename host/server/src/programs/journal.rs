//! The journal as one program's driver sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hersh_journal::{Journal, ProgramRecords, ProgramRow};
use hersh_machine::driver;
use hersh_program::{Lifecycle, Program, ProgramRecord};

use super::StateLog;
use crate::metrics::{Metrics, event_name};

/// The journal as one program's driver sees it. It counts the program's events, and tells the log what
/// became of the program.
pub(crate) struct ProgramJournal {
    records: ProgramRecords,
    last_event_ms: Arc<AtomicU64>,
    metrics: Metrics,
    state_log: StateLog,
}

impl ProgramJournal {
    /// Makes the journal of a program whose snapshot is that of record `snapshot_seq`.
    pub(crate) fn new(
        journal: Journal,
        row: ProgramRow,
        last_event_ms: Arc<AtomicU64>,
        snapshot_seq: u64,
        metrics: Metrics,
        state_log: StateLog,
    ) -> Self {
        Self {
            records: ProgramRecords::new(journal, row, snapshot_seq),
            last_event_ms,
            metrics,
            state_log,
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
        self.records.append_by(record, right).await?;
        self.last_event_ms.store(record.now_ms, Ordering::Relaxed);
        self.metrics.event(event_name(&record.event));
        Ok(())
    }

    fn stored(&mut self, program: &Box<Program>) {
        self.state_log
            .note(program, self.last_event_ms.load(Ordering::Relaxed));
    }
}
