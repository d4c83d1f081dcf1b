//! The journal as one program's driver sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hersh_base::right::Right;
use hersh_machine::driver;
use hersh_program::{Lifecycle, Program, ProgramRecord};

use super::Story;
use crate::metrics::{Metrics, event_name};
use hersh_journal::{Journal, ProgramRow, SNAPSHOT_EVERY};

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
    /// Makes the journal of a program whose snapshot is that of record `snapshot_seq`.
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

    /// Folds the program's older events. A failure only postpones this: the records that were appended stay.
    async fn compact(&mut self, seq: u64) {
        if let Err(error) = self.journal.compact(self.row, seq).await {
            tracing::warn!(%error, "a program's older events were not folded; they stay for now");
        }
        self.compact_at = seq + SNAPSHOT_EVERY;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hersh_journal::{JOURNAL_FILE, RECORDS_MAX};
    use hersh_machine::driver::Journal as _;
    use hersh_program::{BuildId, Event, Manifest, ProgramId, ProgramStepper, Source};

    use super::*;

    fn program(name: &str) -> Program {
        let source = Source {
            build: BuildId::parse("build-0123456789ab").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        Program::new(ProgramId::parse(name).unwrap(), source, 7)
    }

    fn open(folder: &Path) -> Journal {
        Journal::open(&folder.join(JOURNAL_FILE)).unwrap()
    }

    /// A program's life without a host: what an eager user does, as records.
    struct Life {
        stepper: ProgramStepper,
        now_ms: u64,
    }

    impl Life {
        fn new(name: &str) -> Self {
            Self {
                stepper: ProgramStepper::new(program(name)),
                now_ms: 10,
            }
        }

        fn next(&mut self) -> hersh_program::ProgramRecord {
            self.now_ms += 1;
            let event = match self.now_ms % 3 {
                0 => Event::UserStopRequested,
                1 => Event::UserStartRequested,
                _other => Event::HostStarted {
                    numbers_instances: true,
                    left_behind: None,
                },
            };
            self.stepper.step(event, self.now_ms).unwrap()
        }
    }

    fn numbers(journal: &Journal, row: ProgramRow) -> Vec<u64> {
        let records = journal.records(row, 0, usize::MAX).unwrap();
        records.iter().map(|record| record.seq).collect()
    }

    #[tokio::test]
    async fn a_long_history_stays_bounded_and_folds_to_the_same_program() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        let row = journal.create("admin", 0, &program("a")).await.unwrap();
        let mut life = Life::new("a");
        let metrics = Metrics::new(journal.metrics());
        let mut appending = ProgramJournal::new(
            journal.clone(),
            row,
            Arc::default(),
            0,
            metrics.clone(),
            Story::of(&program("a")),
        );
        let mut most = 0;
        for _ in 0..RECORDS_MAX + 3 * SNAPSHOT_EVERY / 2 {
            appending.append(&life.next()).await.unwrap();
            if life.stepper.seq().is_multiple_of(SNAPSHOT_EVERY / 4) {
                most = most.max(numbers(&journal, row).len() as u64);
            }
        }
        assert!(
            most > RECORDS_MAX - SNAPSHOT_EVERY && most <= RECORDS_MAX,
            "{most}"
        );
        let kept = numbers(&journal, row);
        let last = life.stepper.seq();
        assert_eq!(
            kept,
            (last + 1 - kept.len() as u64..=last).collect::<Vec<_>>()
        );
        // A caller who asks for older events than there are gets the oldest kept.
        assert_eq!(journal.records(row, 3, 1).unwrap()[0].seq, kept[0]);

        let stored = open(folder.path()).load().unwrap().remove(0);
        assert_eq!(stored.stepper.snapshot(), life.stepper.snapshot());
        assert_eq!(stored.last_event_ms, life.now_ms);
        assert!(
            last - stored.snapshot_seq < SNAPSHOT_EVERY,
            "{}",
            stored.snapshot_seq
        );
        // The next host goes on where this one was.
        let mut next = ProgramJournal::new(
            journal.clone(),
            row,
            Arc::default(),
            stored.snapshot_seq,
            metrics,
            Story::of(stored.stepper.state()),
        );
        for _ in 0..SNAPSHOT_EVERY {
            next.append(&life.next()).await.unwrap();
        }
        assert!(numbers(&journal, row).len() as u64 <= RECORDS_MAX);
        let stored = journal.load().unwrap().remove(0);
        assert_eq!(stored.stepper.snapshot(), life.stepper.snapshot());
        assert!(stored.snapshot_seq > last);
    }
}
