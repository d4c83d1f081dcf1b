mod backup;
mod recovery;
mod reserve;
mod retention;

use std::sync::Arc;

use hersh_program::{Event, Manifest, Program, ProgramId, ProgramStepper, Rules, Source};

use super::*;

fn host_started() -> Event {
    Event::HostStarted {
        numbers_instances: true,
        rules: Rules::CURRENT,
        orphan: None,
    }
}

fn program(name: &str) -> Program {
    let source = Source {
        build: hersh_program::BuildId::parse("build-0123456789ab").unwrap(),
        manifest: Arc::new(Manifest::default()),
    };
    Program::new(ProgramId::parse(name).unwrap(), source, 7)
}

fn open(folder: &Path) -> Journal {
    Journal::open(&folder.join("journal.db")).unwrap()
}

#[tokio::test]
async fn what_was_appended_is_there_after_the_journal_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut stepper = ProgramStepper::new(program("a"));
    let mut records = Vec::new();
    {
        let journal = open(folder.path());
        let row = journal.create("admin", 5, &program("a")).await.unwrap();
        for (now_ms, event) in [
            (10, Event::UserStartRequested),
            (20, Event::UserStopRequested),
        ] {
            let record = stepper.step(event, now_ms).unwrap();
            journal.append(row, &record).await.unwrap();
            records.push(record);
        }
    }
    let journal = open(folder.path());
    let stored = journal.load().unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].created_at_ms, stored[0].last_event_ms), (5, 20));
    assert_eq!(stored[0].stepper.snapshot(), stepper.snapshot());
    let row = stored[0].row;
    assert_eq!(journal.records(row, 0, 10).unwrap(), records);
    assert_eq!(journal.records(row, 1, 10).unwrap(), records[1..]);
    assert_eq!(journal.records(row, 0, 1).unwrap(), records[..1]);
}

#[tokio::test]
async fn a_name_is_taken_once_and_free_after_removal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = journal.create("admin", 1, &program("a")).await.unwrap();
    let again = journal.create("admin", 2, &program("a")).await;
    assert!(matches!(again, Err(JournalError::Exists(_))), "{again:?}");
    let record = ProgramStepper::new(program("a"))
        .step(Event::UserStartRequested, 3)
        .unwrap();
    journal.append(row, &record).await.unwrap();
    journal.remove(row).await.unwrap();
    assert!(journal.load().unwrap().is_empty());
    assert!(journal.records(row, 0, 10).unwrap().is_empty());
    assert_ne!(
        journal.create("admin", 4, &program("a")).await.unwrap(),
        row
    );
}

#[tokio::test]
async fn many_writers_share_transactions_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let names = (0..200).map(|n| program(&format!("p{n}")));
    let writing = names.map(|program| {
        let journal = journal.clone();
        tokio::spawn(async move {
            let row = journal.create("admin", 0, &program).await.unwrap();
            let record = ProgramStepper::new(program)
                .step(Event::UserStartRequested, 1)
                .unwrap();
            journal.append(row, &record).await.unwrap();
        })
    });
    for task in writing.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let stored = journal.load().unwrap();
    assert_eq!(stored.len(), 200);
    assert!(stored.iter().all(|program| program.stepper.seq() == 1));
}

#[tokio::test]
async fn a_second_attempt_at_a_record_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let row = journal.create("admin", 0, &program("a")).await.unwrap();
    let first = ProgramStepper::new(program("a"))
        .step(Event::UserStartRequested, 1)
        .unwrap();
    let second = ProgramStepper::new(program("a"))
        .step(Event::UserStartRequested, 2)
        .unwrap();
    journal.append(row, &first).await.unwrap();
    journal.append(row, &second).await.unwrap();
    assert_eq!(journal.records(row, 0, 10).unwrap(), [second]);
}

#[tokio::test]
async fn damage_is_told_and_a_newer_schema_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let error = Journal::open(&path).unwrap_err().to_string();
    assert!(error.contains("journal.db"), "{error}");

    let newer = folder.path().join("newer.db");
    drop(Journal::open(&newer).unwrap());
    let connection = Connection::open(&newer).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Journal::open(&newer).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::TooNew {
                found: 99,
                known: 5,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_record_that_can_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    {
        let journal = open(folder.path());
        let row = journal.create("admin", 0, &program("a")).await.unwrap();
        let record = ProgramStepper::new(program("a"))
            .step(Event::UserStartRequested, 1)
            .unwrap();
        journal.append(row, &record).await.unwrap();
    }
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("UPDATE records SET event = '{\"event\":\"later\"}'", [])
        .unwrap();
    let error = open(folder.path()).load().err().unwrap();
    assert!(
        matches!(error, JournalError::Unreadable { seq: 1, .. }),
        "{error}"
    );
}

/// What is in a folder: each file's name and bytes, but for the index of a log, which only says who
/// reads.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.filter(|(name, _)| !name.ends_with("-shm")).collect()
}

/// Takes a journal back to where it was before its audit log told changes from repeats, and tokens who
/// made them.
const OLDER: &str = "PRAGMA user_version = 3;
    ALTER TABLE tokens DROP COLUMN made_by;
    DROP INDEX audit_by_user; DROP INDEX audit_by_age; DROP INDEX audit_repeats;
    ALTER TABLE audit DROP COLUMN object; ALTER TABLE audit DROP COLUMN change;
    ALTER TABLE audit DROP COLUMN is_change; ALTER TABLE audit DROP COLUMN count;
    ALTER TABLE audit DROP COLUMN first_ms;
    CREATE INDEX audit_by_user ON audit (user, seq);
    INSERT INTO audit (at_ms, user, token, peer, action, target, status)
    VALUES (7, 'ann', 't', 'p', 'a', 'x', 404), (8, 'ann', 't', 'p', 'a', 'y', 200);";

#[tokio::test]
async fn a_journal_that_is_refused_stays_as_it_was() {
    let newer = "PRAGMA user_version = 99";
    let misfit = &format!("{OLDER} UPDATE records SET event = '{{\"event\":\"later\"}}'");
    for (mode, change) in [
        ("DELETE", newer),
        ("WAL", newer),
        ("DELETE", misfit),
        ("WAL", misfit),
    ] {
        let folder = tempfile::tempdir().unwrap();
        {
            // Without a thread, which would hold the file a little longer.
            let path = folder.path().join("journal.db");
            let journal = Journal::open_probed(&path, |_| WriteFate::default()).unwrap();
            let row = journal.create("admin", 0, &program("a")).await.unwrap();
            let record = ProgramStepper::new(program("a"))
                .step(Event::UserStartRequested, 1)
                .unwrap();
            journal.append(row, &record).await.unwrap();
        }
        let path = folder.path().join("journal.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "journal_mode", mode)
            .unwrap();
        let log_stays = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(log_stays, true).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let before = files(folder.path());
        let refused = Journal::open(&path);
        assert!(refused.is_err(), "{change} {mode}");
        assert_eq!(files(folder.path()), before, "{change} {mode}");
    }
}

#[tokio::test]
async fn an_older_journal_that_fits_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    {
        let journal = Journal::open_probed(&path, |_| WriteFate::default()).unwrap();
        journal.create("admin", 0, &program("a")).await.unwrap();
    }
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(OLDER).unwrap();
    drop(connection);
    let journal = open(folder.path());
    assert_eq!(journal.load().unwrap().len(), 1);
    let version = |reader: &Connection| Ok(schema::version(reader)?);
    assert_eq!(journal.read(version).unwrap(), 5);
    let rows = journal.audit_page(None, 10).unwrap();
    let told = |row: &AuditRow| (row.target.clone(), row.count, row.first_ms, row.status);
    let rows: Vec<_> = rows.iter().map(told).collect();
    let expected = [
        ("y".to_owned(), 1, 8, Some(200)),
        ("x".to_owned(), 1, 7, Some(404)),
    ];
    assert_eq!(rows, expected);
}
