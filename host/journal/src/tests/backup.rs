//! Backups: whole, private, taken beside a running host; restores: whole or not at all.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.data()).unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn open(&self) -> Journal {
        open(&self.data())
    }

    /// The names of what lies beside the data folder.
    fn beside(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until nobody has the journal open and its log is folded into the file.
fn closed(path: &Path) {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while log.exists() {
        assert!(std::time::Instant::now() < deadline, "the journal closes");
        // The last one who can write removes the log when it closes.
        let _ = Connection::open(path)
            .unwrap()
            .query_row("PRAGMA user_version", [], |_| Ok(()));
    }
}

async fn add(journal: &Journal, name: &str) {
    let row = journal.create("admin", 0, &program(name)).await.unwrap();
    let record = ProgramStepper::new(program(name))
        .step(Event::UserStartRequested, 1)
        .unwrap();
    journal.append(row, &record).await.unwrap();
}

fn ids(journal: &Journal) -> Vec<String> {
    let stored = journal.load().unwrap();
    stored
        .iter()
        .map(|program| program.stepper.state().id.to_string())
        .collect()
}

#[tokio::test]
async fn a_backup_beside_a_running_host_is_whole_private_and_one_file() {
    let place = Place::new();
    let journal = place.open();
    add(&journal, "a").await;
    add(&journal, "gone").await;
    let gone = journal.load().unwrap().remove(1).row;
    journal.remove(gone).await.unwrap();
    fs::write(place.file(), "older").unwrap();
    fs::write(place.folder.path().join("backup.partial"), "cut short").unwrap();
    let made = backup(&place.data(), &place.file()).unwrap();
    assert_eq!((made.programs, made.records), (1, 1));
    assert_eq!(place.beside(), ["backup", "data"]);
    let metadata = fs::metadata(place.file()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.len(), made.bytes);
    let bytes = fs::read(place.file()).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(
        holds(br#""id":"a""#) && !holds(br#""id":"gone""#),
        "what was removed is gone"
    );
    assert_eq!(check(&place.data()).unwrap().programs, 1);
}

#[tokio::test]
async fn backups_under_load_hold_all_acknowledged_changes() {
    let place = Place::new();
    let journal = place.open();
    let writing = {
        let journal = journal.clone();
        tokio::spawn(async move {
            for n in 0.. {
                add(&journal, &format!("p{n}")).await;
            }
        })
    };
    let mut before = 0;
    for _ in 0..10 {
        let acknowledged = check(&place.data()).unwrap();
        let (data, file) = (place.data(), place.file());
        let copying = tokio::task::spawn_blocking(move || backup(&data, &file));
        let made = copying.await.unwrap().unwrap();
        assert!(made.records >= acknowledged.records && made.records >= before);
        // A program and its first event are two writes.
        assert!(made.programs - made.records <= 1, "{made:?}");
        before = made.records;
    }
    writing.abort();
    assert!(before > 0);
}

#[tokio::test]
async fn what_was_backed_up_comes_back_and_what_was_there_is_kept() {
    let place = Place::new();
    {
        let journal = place.open();
        add(&journal, "a").await;
        backup(&place.data(), &place.file()).unwrap();
        add(&journal, "later").await;
    }
    closed(&place.data().join(JOURNAL_FILE));
    let restored = restore(&place.data(), &place.file(), BackupTokens::Keep, 77).unwrap();
    assert_eq!(
        (restored.contents.programs, restored.contents.records),
        (1, 1)
    );
    let kept = place.data().join("journal.db.before-restore-77");
    assert_eq!(restored.kept.as_deref(), Some(&*kept));
    let left = names(&place.data());
    let expected = [
        "backup.lock",
        "journal.db",
        "journal.db.before-restore-77",
        "lock",
    ];
    assert_eq!(left, expected, "nothing else is left");
    assert_eq!(ids(&place.open()), ["a"]);
    let old = Journal::open(&kept).unwrap();
    assert_eq!(ids(&old), ["a", "later"], "what stood in the log is in it");

    // On another machine there is nothing yet.
    let elsewhere = place.folder.path().join("elsewhere");
    let restored = restore(&elsewhere, &place.file(), BackupTokens::Keep, 1).unwrap();
    assert_eq!(restored.kept, None);
    assert_eq!(ids(&open(&elsewhere)), ["a"]);
}

#[tokio::test]
async fn a_damaged_journal_is_refused_and_a_backup_takes_its_place() {
    let place = Place::new();
    {
        let journal = place.open();
        for n in 0..50 {
            add(&journal, &format!("p{n}")).await;
        }
    }
    backup(&place.data(), &place.file()).unwrap();
    let path = place.data().join(JOURNAL_FILE);
    closed(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5_000..20_000].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(&path).err().unwrap().to_string();
    assert!(error.contains("hersh host restore"), "{error}");
    assert!(check(&place.data()).is_err());
    let copied = backup(&place.data(), &place.folder.path().join("other"));
    assert!(copied.is_err(), "a damaged journal makes no backup");
    assert_eq!(place.beside(), ["backup", "data"]);

    restore(&place.data(), &place.file(), BackupTokens::Keep, 3).unwrap();
    assert_eq!(ids(&place.open()).len(), 50);
    let kept = place.data().join("journal.db.before-restore-3");
    assert_eq!(fs::read(kept).unwrap().len(), bytes.len());
}

#[tokio::test]
async fn a_restore_that_can_not_be_refuses_and_changes_nothing() {
    let place = Place::new();
    let journal = place.open();
    add(&journal, "a").await;
    drop(journal);
    backup(&place.data(), &place.file()).unwrap();
    let refused = |file: &Path, said: &str| {
        let error = restore(&place.data(), file, BackupTokens::Keep, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
        let left = names(&place.data());
        assert!(left.iter().all(|name| !name.contains("restor")), "{left:?}");
        assert_eq!(ids(&place.open()), ["a"]);
    };
    let other = place.folder.path().join("other");
    refused(&other, "other");
    fs::write(
        &other,
        "text, not a database, and long enough to look like one".repeat(50),
    )
    .unwrap();
    refused(&other, "no journal");
    fs::remove_file(&other).unwrap();
    drop(
        Connection::open(&other)
            .unwrap()
            .execute_batch("CREATE TABLE t (x)"),
    );
    refused(&other, "no journal");
    let damage = |statement: &str| {
        fs::copy(place.file(), &other).unwrap();
        let connection = Connection::open(&other).unwrap();
        connection.execute_batch(statement).unwrap();
    };
    damage("PRAGMA user_version = 99");
    refused(&other, "newer host");
    damage(r#"UPDATE records SET event = '{"event":"user_stop_requested"}'"#);
    refused(&other, "record 1 of program a");
    damage("PRAGMA foreign_keys = OFF; DELETE FROM programs");
    refused(&other, "records names what is not there");

    let host = hersh_base::lock::DataLock::take(&place.data()).unwrap();
    refused(&place.file(), "another host uses");
    drop(host);
}

#[tokio::test]
async fn a_backup_that_can_not_be_is_refused() {
    let place = Place::new();
    let nothing = backup(&place.data(), &place.file())
        .unwrap_err()
        .to_string();
    assert!(nothing.contains("--data-dir"), "{nothing}");
    add(&place.open(), "a").await;
    let refused = |target: &Path, said: &str| {
        let error = backup(&place.data(), target).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(place.beside(), ["data"]);
    };
    refused(&place.data().join(JOURNAL_FILE), "outside of it");
    refused(&place.data().join("backup"), "outside of it");
    refused(&place.folder.path().join("nowhere/backup"), "nowhere");
    let lock = hersh_base::lock::take_for_backup(&place.data()).unwrap();
    refused(&place.file(), "another backup");
    drop(lock);
    backup(&place.data(), &place.file()).unwrap();
}

#[tokio::test]
async fn what_is_no_plain_file_is_no_place_for_a_backup() {
    let place = Place::new();
    add(&place.open(), "a").await;
    let other = place.folder.path().join("other");
    fs::write(&other, "kept").unwrap();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let pipe = place.folder.path().join("pipe");
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
    let before = place.beside();
    for target in [&link, &pipe] {
        let refused = backup(&place.data(), target);
        assert!(matches!(refused, Err(BackupError::Named(_))), "{refused:?}");
    }
    assert_eq!(place.beside(), before);
    assert_eq!(fs::read(&other).unwrap(), b"kept");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    // A restore would wait for the other end of a pipe.
    let refused = restore(&place.data(), &pipe, BackupTokens::Keep, 1);
    assert!(matches!(refused, Err(BackupError::Named(_))), "{refused:?}");
}

#[tokio::test]
async fn a_backup_to_a_reader_is_the_same_and_leaves_nothing() {
    let place = Place::new();
    add(&place.open(), "a").await;
    let mut read = Vec::new();
    let made = backup_to(&place.data(), &mut read).unwrap();
    assert_eq!((made.programs, made.bytes), (1, read.len() as u64));
    let left = names(&place.data());
    assert!(
        left.iter().all(|name| !name.contains("backup.partial")),
        "{left:?}"
    );
    fs::write(place.file(), read).unwrap();
    let elsewhere = place.folder.path().join("elsewhere");
    restore(&elsewhere, &place.file(), BackupTokens::Keep, 1).unwrap();
    assert_eq!(ids(&open(&elsewhere)), ["a"]);
}

/// Makes a user's tokens valid, and no other.
async fn put_tokens(journal: &Journal, ids: &'static [&'static str]) {
    let put = journal.write(move |transaction| {
        transaction.execute_batch(
            "INSERT OR IGNORE INTO users VALUES ('ann', 'member', '{}', 1); DELETE FROM tokens;",
        )?;
        for id in ids {
            transaction.execute(
                "INSERT INTO tokens VALUES (?1, 'ann', ?1, 'read', '', 1, NULL, NULL, NULL)",
                [id],
            )?;
        }
        Ok(())
    });
    put.await.unwrap();
}

fn tokens(data: &Path) -> u64 {
    let connection = Connection::open(data.join(JOURNAL_FILE)).unwrap();
    let count = "SELECT COUNT(*) FROM tokens";
    connection.query_row(count, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_restore_tells_of_tokens_that_were_removed_since() {
    let place = Place::new();
    let journal = place.open();
    put_tokens(&journal, &["one", "two"]).await;
    backup(&place.data(), &place.file()).unwrap();
    put_tokens(&journal, &["two", "three"]).await;
    drop(journal);
    closed(&place.data().join(JOURNAL_FILE));
    let restored = restore(&place.data(), &place.file(), BackupTokens::Keep, 1).unwrap();
    assert!(restored.revived.iter().eq(["one"]), "{restored:?}");
    assert_eq!((restored.revoked, tokens(&place.data())), (0, 2));
    // Revoked, they are never valid, not even for a moment.
    let restored = restore(&place.data(), &place.file(), BackupTokens::Revoke, 2).unwrap();
    assert_eq!((restored.revoked, tokens(&place.data())), (2, 0));
    assert!(restored.revived.is_empty(), "{restored:?}");
}

#[tokio::test]
async fn a_journal_on_another_disk_is_copied_and_put_back_there() {
    let place = Place::new();
    let folder = place.folder.path().join("journal");
    let home = Home::new(&place.data(), Some(&folder));
    home.make().unwrap();
    add(&open(&folder), "a").await;
    let inside = backup(home.clone(), &folder.join("copy")).unwrap_err();
    assert!(matches!(inside, BackupError::InDataFolder(_)), "{inside}");
    assert_eq!(backup(home.clone(), &place.file()).unwrap().programs, 1);
    assert_eq!(check(home.clone()).unwrap().programs, 1);
    closed(&home.file());
    let restored = restore(home.clone(), &place.file(), BackupTokens::Keep, 7).unwrap();
    assert_eq!(restored.kept.unwrap().parent(), Some(&*folder));
    assert_eq!(names(&place.data()), ["backup.lock", "lock"]);
    assert_eq!(ids(&open(&folder)), ["a"]);
}
