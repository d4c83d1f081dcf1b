//! What a crash or a full disk leaves behind is read, up to where it is whole.

use std::fs;

use super::*;

const RECORDS: u64 = 20;

/// A journal of one program as a crash leaves it: everything still stands in the log.
async fn crashed(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let journal = open(folder);
    // The program alone is in the database file.
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    journal
        .read(|_| {
            let other = Connection::open(folder.join(JOURNAL_FILE))?;
            Ok(other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        })
        .unwrap();
    let mut stepper = ProgramStepper::new(program("a"));
    for n in 0..RECORDS {
        let record = stepper.step(host_started(), n).unwrap();
        journal.append(row, &record).await.unwrap();
    }
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    (read("journal.db"), read("journal.db-wal"))
}

/// How many records the next start finds.
fn found(database: &[u8], log: &[u8]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal.db"), database).unwrap();
    fs::write(folder.path().join("journal.db-wal"), log).unwrap();
    let stored = open(folder.path()).load().unwrap();
    assert_eq!(stored.len(), 1);
    stored[0].stepper.seq()
}

#[tokio::test]
async fn a_log_cut_anywhere_leaves_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let (database, log) = crashed(folder.path()).await;
    assert_eq!(found(&database, &log), RECORDS);
    let mut before = 0;
    for cut in (0..log.len()).step_by(2_039) {
        let now = found(&database, &log[..cut]);
        assert!(now >= before, "{cut} bytes: {now} records after {before}");
        before = now;
    }
    assert!(before > RECORDS / 2, "{before}");
}

#[tokio::test]
async fn a_log_damaged_anywhere_leaves_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let (database, log) = crashed(folder.path()).await;
    let mut seen = std::collections::BTreeSet::new();
    for place in (0..log.len()).step_by(4_099) {
        let mut damaged = log.clone();
        damaged[place] ^= 0x10;
        seen.insert(found(&database, &damaged));
    }
    assert!(seen.len() as u64 > RECORDS / 2, "{seen:?}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    let pages_max = |pages: u32| {
        journal.write(move |transaction| {
            Ok(transaction.query_row(
                &format!("PRAGMA max_page_count = {pages}"),
                [],
                |_| Ok(()),
            )?)
        })
    };
    pages_max(1).await.unwrap();
    let mut stepper = ProgramStepper::new(program("a"));
    let mut stored = 0;
    let refused = loop {
        let record = stepper.step(host_started(), stored).unwrap();
        match journal.append(row, &record).await {
            Ok(()) => stored += 1,
            Err(error) => break (error, record),
        }
    };
    assert!(matches!(refused.0, JournalError::Full), "{}", refused.0);
    assert_eq!(journal.load().unwrap()[0].stepper.seq(), stored);
    pages_max(1_000_000).await.unwrap();
    journal.append(row, &refused.1).await.unwrap();
    assert_eq!(journal.load().unwrap()[0].stepper.seq(), stored + 1);
}

#[tokio::test]
async fn a_transaction_that_was_taken_back_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let insert = || {
        journal.write(|transaction| {
            let statement = "INSERT OR ROLLBACK INTO meta (key, value) VALUES ('key', 'value')";
            Ok(transaction.execute(statement, [])?)
        })
    };
    assert_eq!(insert().await.unwrap(), 1);
    let error = insert().await.unwrap_err();
    assert!(
        matches!(&error, JournalError::Sqlite(message) if message.contains("UNIQUE")),
        "{error}"
    );
    journal.set_meta("key", "other".into()).await.unwrap();
}
