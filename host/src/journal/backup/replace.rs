//! Putting a backup in the journal's place.
//!
//! ```text
//! lock ─► copy, migrate, check ─► fold the old one's log into it ─► second name for it ─► rename
//! ```
//! At every instant `journal.db` is one whole database: the old one, or from the rename on the new.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{BackupError, Contents, at, beside, copy, examine, remove_if_there, sync};
use crate::{
    journal::{JOURNAL_FILE, OpenError, schema},
    lock::{self, DataLock},
};

/// A journal that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub contents: Contents,
    /// Where the journal that was there before is kept, if there was one.
    pub kept: Option<PathBuf>,
}

/// Puts the copy `backup` in the place of the journal on the folder `data`, which is made if it is
/// not there. `now_s` names what is kept of the old one: seconds since the Unix epoch. Blocks on
/// the disk.
///
/// # Errors
/// [`BackupError`], also while a host uses the folder; the journal is as it was.
pub fn restore(data: &Path, backup: &Path, now_s: u64) -> Result<Restored, BackupError> {
    fs::File::open(backup).map_err(at("open", backup))?;
    fs::create_dir_all(data).map_err(at("make", data))?;
    let _lock = DataLock::take(data)?;
    let _no_copy = lock::take_for_backup(data)?;
    let journal = data.join(JOURNAL_FILE);
    let restoring = data.join(format!("{JOURNAL_FILE}.restoring"));
    let prepared = prepare(backup, &restoring);
    if prepared.is_err() {
        // Why it failed matters more than a leftover, which the next restore replaces.
        let _ = remove_database(&restoring);
    }
    let contents = prepared?;
    let kept = if journal.exists() {
        Some(keep(&journal, now_s)?)
    } else {
        None
    };
    // A log without its database must not be taken for the new one's.
    remove_logs(&journal)?;
    sync(data)?;
    fs::rename(&restoring, &journal).map_err(at("name", &journal))?;
    sync(data)?;
    Ok(Restored { contents, kept })
}

/// Makes of the backup what the next host will open.
fn prepare(backup: &Path, restoring: &Path) -> Result<Contents, BackupError> {
    remove_database(restoring)?;
    copy(backup, restoring)?;
    drop(schema::open(restoring)?);
    let contents = examine(restoring)?;
    settle(restoring)?;
    fs::File::open(restoring)
        .and_then(|file| file.sync_all())
        .map_err(at("sync", restoring))?;
    Ok(contents)
}

/// Gives the old journal a second name. Its log is folded into it first; one that is too damaged
/// for that is kept with its log beside it.
fn keep(journal: &Path, now_s: u64) -> Result<PathBuf, BackupError> {
    let kept = beside(journal, &format!(".before-restore-{now_s}"));
    if settle(journal).is_err() {
        let (log, kept_log) = (beside(journal, "-wal"), beside(&kept, "-wal"));
        if log.exists() {
            fs::hard_link(&log, &kept_log).map_err(at("keep the old journal as", &kept_log))?;
        }
    }
    fs::hard_link(journal, &kept).map_err(at("keep the old journal as", &kept))?;
    Ok(kept)
}

/// Folds what stands in the log into the database. The log goes with the last one who uses it.
fn settle(path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    let settled = connection
        .busy_timeout(schema::BUSY_TIMEOUT)
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0)
            })
        });
    match settled {
        Ok(is_busy) if is_busy => {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Err(sqlite(rusqlite::Error::SqliteFailure(busy, None)))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(sqlite(error)),
    }
}

fn remove_database(path: &Path) -> Result<(), BackupError> {
    remove_logs(path)?;
    remove_if_there(path)
}

fn remove_logs(path: &Path) -> Result<(), BackupError> {
    remove_if_there(&beside(path, "-shm"))?;
    remove_if_there(&beside(path, "-wal"))
}
