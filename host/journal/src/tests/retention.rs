//! Histories stay bounded, and no crash on the way shows.

use hersh_machine::driver::Journal as _;

use super::*;
use crate::retention::{
    AUDIT_REPEATS_PER_USER_MAX, AUDIT_ROWS_PER_USER_MAX, RECORDS_MAX, SNAPSHOT_EVERY,
};

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
            _other => host_started(),
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
    let mut appending = ProgramRecords::new(journal.clone(), row, 0);
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
    let mut next = ProgramRecords::new(journal.clone(), row, stored.snapshot_seq);
    for _ in 0..SNAPSHOT_EVERY {
        next.append(&life.next()).await.unwrap();
    }
    assert!(numbers(&journal, row).len() as u64 <= RECORDS_MAX);
    let stored = journal.load().unwrap().remove(0);
    assert_eq!(stored.stepper.snapshot(), life.stepper.snapshot());
    assert!(stored.snapshot_seq > last);
}

#[tokio::test]
async fn a_crash_on_either_side_of_a_compaction_loses_nothing() {
    for point in [CommitPoint::Before, CommitPoint::After] {
        let folder = tempfile::tempdir().unwrap();
        let mut life = Life::new("a");
        let row = {
            let journal = open(folder.path());
            let row = journal.create("admin", 0, &program("a")).await.unwrap();
            for _ in 0..20 {
                journal.append(row, &life.next()).await.unwrap();
            }
            row
        };
        let dying = Journal::open_probed(&folder.path().join(JOURNAL_FILE), move |at| {
            if at == point {
                WriteFate::Die
            } else {
                WriteFate::Proceed
            }
        });
        let dying = dying.unwrap();
        let compacting = dying.compact(row, 15);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), compacting);
        assert!(waited.await.is_err(), "the dead do not answer");
        let journal = open(folder.path());
        let stored = journal.load().unwrap().remove(0);
        assert_eq!(
            stored.snapshot_seq,
            if point == CommitPoint::After { 15 } else { 0 }
        );
        assert_eq!(stored.stepper.snapshot(), life.stepper.snapshot());
        // Again, as the next host would: it is the same.
        journal.compact(row, 15).await.unwrap();
        let stored = journal.load().unwrap().remove(0);
        assert_eq!(stored.snapshot_seq, 15);
        assert_eq!(stored.stepper.snapshot(), life.stepper.snapshot());
    }
}

#[tokio::test]
async fn what_is_gone_or_does_not_fit_is_not_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    let mut life = Life::new("a");
    for _ in 0..5 {
        journal.append(row, &life.next()).await.unwrap();
    }
    journal
        .write(|transaction| {
            transaction.execute("DELETE FROM records WHERE seq = 3", [])?;
            Ok(())
        })
        .await
        .unwrap();
    let error = journal.compact(row, 5).await.unwrap_err();
    assert!(
        matches!(&error, JournalError::Diverged { program, seq: 3 } if program.as_str() == "a"),
        "{error}"
    );
    assert_eq!(numbers(&journal, row), [1, 2, 4, 5], "nothing changed");
    let error = journal.load().err().unwrap();
    assert!(
        matches!(error, JournalError::Diverged { seq: 3, .. }),
        "{error}"
    );

    journal.remove(row).await.unwrap();
    journal.compact(row, 5).await.unwrap();
    assert!(journal.load().unwrap().is_empty());
}

#[tokio::test]
async fn audit_and_answers_are_bounded_by_number_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let (few, many) = (10, AUDIT_ROWS_PER_USER_MAX + 12_345);
    journal
        .write(move |transaction| {
            transaction.execute(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                 INSERT INTO audit (at_ms, user, token, peer, action, target)
                 SELECT n, CASE WHEN n <= ?2 THEN 'few' ELSE 'many' END, 't', 'p', 'a', 'x' FROM n",
                (few + many, few),
            )?;
            // What changed nothing comes last and pushes out none of that.
            transaction.execute(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                 INSERT INTO audit (at_ms, user, token, peer, action, target, is_change)
                 SELECT n, 'many', 't', 'p', 'a', 'refused', 0 FROM n",
                [AUDIT_REPEATS_PER_USER_MAX + 99],
            )?;
            transaction.execute(
                "INSERT INTO idempotency (user, key, fingerprint, answer, at_ms)
                 VALUES ('u', 'old', '', '', 999), ('u', 'young', '', '', 1000)",
                [],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(
        journal.prune(IDEMPOTENCY_MS + 1_000).await.unwrap(),
        many - AUDIT_ROWS_PER_USER_MAX + 99 + 1
    );
    assert_eq!(journal.prune(IDEMPOTENCY_MS + 1_000).await.unwrap(), 0);
    let left: (u64, u64, String) = journal
        .read(|reader| {
            Ok(reader.query_row(
                "SELECT SUM(user = 'few'), MIN(at_ms) FILTER (WHERE user = 'many' AND is_change),
                 (SELECT key FROM idempotency) FROM audit",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?)
        })
        .unwrap();
    let oldest_of_many = few + many - AUDIT_ROWS_PER_USER_MAX + 1;
    assert_eq!(left, (few, oldest_of_many, "young".into()));
}

/// A life of deploys, each with some 400 KB of environment.
async fn appended_large(journal: &Journal, count: u64) -> ProgramRow {
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    let mut stepper = ProgramStepper::new(program("a"));
    for now_ms in 0..count {
        let mut manifest = Manifest::default();
        manifest.env.insert("A".into(), "\u{1}".repeat(65_000));
        let mut source = program("a").source;
        source.manifest = Arc::new(manifest);
        let record = stepper.step(
            Event::SourceReplaced {
                source,
                note: hersh_program::RevisionNote::default(),
            },
            now_ms,
        );
        journal.append(row, &record.unwrap()).await.unwrap();
    }
    row
}

#[tokio::test]
async fn large_records_that_a_snapshot_holds_go_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = appended_large(&journal, 15).await;
    // What a start has to fold stays whatever it takes.
    journal.compact(row, 1).await.unwrap();
    assert_eq!(numbers(&journal, row), (2..=15).collect::<Vec<_>>());
    journal.compact(row, 15).await.unwrap();
    let kept = numbers(&journal, row);
    assert_eq!(kept, (6..=15).collect::<Vec<_>>());
    let stored = open(folder.path()).load().unwrap().remove(0);
    assert_eq!(stored.stepper.seq(), 15);
}

#[tokio::test]
async fn a_page_of_large_records_ends_by_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = appended_large(&journal, 12).await;
    let mut seen = Vec::new();
    loop {
        let page = journal
            .page(row, seen.last().copied().unwrap_or(0), 1_000)
            .unwrap();
        let bytes: usize = page
            .records
            .iter()
            .map(|it| to_json(it).unwrap().len())
            .sum();
        assert!(bytes <= 2_100_000 && !page.records.is_empty(), "{bytes}");
        seen.extend(page.records.iter().map(|it| it.seq));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen, (1..=12).collect::<Vec<u64>>());
    let page = journal.page(row, 0, 2).unwrap();
    assert!(page.records.len() == 2 && page.has_more);
    let page = journal.page(row, 10, 2).unwrap();
    assert!(page.records.len() == 2 && !page.has_more);
}
