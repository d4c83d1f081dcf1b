//! What frees space is written when nothing else can be.

use super::*;

/// Lets the database grow no further than it is, as a full disk does.
async fn fill_disk(journal: &Journal) {
    let filled = journal.write_freeing(|transaction| {
        let pages: u64 = transaction.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let bound = format!("PRAGMA max_page_count = {pages}");
        Ok(transaction.query_row(&bound, [], |_| Ok(()))?)
    });
    filled.await.unwrap();
}

async fn free_space(journal: &Journal) {
    let made = journal.write_freeing(|transaction| {
        let bound = "PRAGMA max_page_count = 1000000";
        Ok(transaction.query_row(bound, [], |_| Ok(()))?)
    });
    made.await.unwrap();
}

/// Writes what may wait until it is refused.
async fn write_until_refused(journal: &Journal) -> u64 {
    let text = "x".repeat(100_000);
    for n in 0..1_000 {
        let text = text.clone();
        let written = journal.write(move |transaction| {
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)",
                (format!("filler {n}"), text),
            )?;
            Ok(())
        });
        match written.await {
            Ok(()) => {}
            Err(JournalError::Full) => return n,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk has room for everything");
}

#[tokio::test]
async fn a_full_disk_takes_what_frees_room_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open_with_reserve(&path).unwrap();
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    let log_bytes = || {
        std::fs::metadata(folder.path().join("journal.db-wal"))
            .unwrap()
            .len()
    };
    journal.flush().await.unwrap();
    let before = log_bytes();
    assert!(before > 5 << 20, "{before}");

    fill_disk(&journal).await;
    assert!(write_until_refused(&journal).await > 5, "half may be used");
    let mut stepper = ProgramStepper::new(program("a"));
    let wish = stepper.step(Event::UserStartRequested, 1).unwrap();
    let refused = journal.append(row, &wish).await;
    assert!(matches!(refused, Err(JournalError::Full)), "{refused:?}");
    let mut stepper = ProgramStepper::new(program("a"));
    for n in 0..200 {
        let event = match n % 2 {
            0 => Event::UserStopRequested,
            _ => host_started(),
        };
        let record = stepper.step(event, n).unwrap();
        journal.append(row, &record).await.unwrap();
    }
    journal.remove(row).await.unwrap();
    assert_eq!(log_bytes(), before, "the log takes no room");

    free_space(&journal).await;
    // The reserve is made up again when the pause is over.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while let Err(error) = journal.create("admin", 0, &program("b")).await {
        assert!(matches!(error, JournalError::Full), "{error}");
        assert!(std::time::Instant::now() < deadline, "there is room");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_log_keeps_its_room_when_the_host_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    for _ in 0..2 {
        let journal = Journal::open_with_reserve(&path).unwrap();
        journal.set_meta("key", "value".into()).await.unwrap();
        assert_eq!(journal.meta("key").unwrap().unwrap(), "value");
        drop(journal);
        let log = std::fs::metadata(folder.path().join("journal.db-wal")).unwrap();
        assert!(log.len() > 5 << 20, "{}", log.len());
    }
}
