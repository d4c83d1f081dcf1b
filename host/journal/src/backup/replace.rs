//! Replaces the journal by a backup.
//!
//! ```text
//! lock ─► copy, migrate, check ─► fold the old one's log into it ─► second name for it ─► rename
//! ```
//! At every moment `journal.db` is one whole database: the old one before the rename, the new one after.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use hersh_base::{
    lock::{self, DataLock},
    partial,
};
use rusqlite::{Connection, OpenFlags};

use super::{
    BackupError, Contents, at, beside, copy, examine, open_read_only, remove_if_there, sync,
};
use crate::{Home, JOURNAL_FILE, META_ADMIN_TOKEN, OpenError, schema};

/// Whether the tokens in a backup stay valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupTokens {
    /// All of them are valid again, also those that were removed after the backup was made.
    Keep,
    /// None of them is ever valid in the restored journal.
    Revoke,
}

/// A journal that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredJournal {
    /// What the restored journal holds.
    pub contents: Contents,
    /// How many tokens of the backup were made invalid.
    pub revoked: u64,
    /// The ids of tokens in the restored journal that the replaced one did not have: they were removed
    /// after the backup was made. Empty if there was no journal before, or it can't be read.
    pub revived: BTreeSet<String>,
    /// The path at which the replaced journal is kept; `None` if there was no journal.
    pub kept: Option<PathBuf>,
}

/// Replaces the journal at `home` by the copy `backup`. Makes the folders of `home` if they are not there.
/// `now_s`, seconds since the Unix epoch, is part of the name under which the old journal is kept. Blocks
/// on the disk.
///
/// # Errors
/// [`BackupError`], also while a host uses the folder; the journal is as it was.
pub fn restore(
    home: impl Into<Home>,
    backup: &Path,
    tokens: BackupTokens,
    now_s: u64,
) -> Result<RestoredJournal, BackupError> {
    let home = home.into();
    let (data, folder) = (home.data(), home.folder());
    partial::check_plain(backup)?;
    home.check()?;
    fs::create_dir_all(data).map_err(at("make", data))?;
    home.make().map_err(at("make", folder))?;
    let _lock = DataLock::take(data)?;
    let _journal_lock = home.lock()?;
    let _no_copy = lock::take_for_backup(data)?;
    let journal = home.file();
    let restoring = folder.join(format!("{JOURNAL_FILE}.restoring"));
    let prepared = prepare(backup, &restoring, tokens);
    if prepared.is_err() {
        // An error here is ignored: the first error matters more, and the next restore removes the rest.
        let _ = remove_database(&restoring);
    }
    let prepared = prepared?;
    // There may be no old journal yet, or one so damaged that it can't be read.
    let before = open_read_only(&journal).ok();
    let before = before.and_then(|connection| token_ids(&connection).ok());
    let revived = before.map_or_else(BTreeSet::new, |before| &prepared.token_ids - &before);
    let kept = if journal.exists() {
        Some(keep(&journal, now_s)?)
    } else {
        None
    };
    // SQLite would take the old database's log for the log of the new one.
    remove_logs(&journal)?;
    sync(folder)?;
    fs::rename(&restoring, &journal).map_err(at("name", &journal))?;
    sync(folder)?;
    Ok(RestoredJournal {
        contents: prepared.contents,
        revoked: prepared.revoked,
        revived,
        kept,
    })
}

/// The database that is ready to replace the journal.
struct PreparedJournal {
    contents: Contents,
    revoked: u64,
    token_ids: BTreeSet<String>,
}

/// Copies the backup to `restoring` and migrates and checks it there, so that the next host can open it.
fn prepare(
    backup: &Path,
    restoring: &Path,
    tokens: BackupTokens,
) -> Result<PreparedJournal, BackupError> {
    remove_database(restoring)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(restoring).map_err(at("make", restoring))?;
    copy(backup, restoring)?;
    let (connection, _index) = schema::open(restoring)?;
    let revoked = match tokens {
        BackupTokens::Keep => Ok(0),
        BackupTokens::Revoke => revoke(&connection),
    };
    let counted = revoked.and_then(|revoked| Ok((revoked, token_ids(&connection)?)));
    let (revoked, token_ids) = counted.map_err(|source| OpenError::sqlite(restoring, source))?;
    drop(connection);
    let contents = examine(restoring)?;
    settle(restoring)?;
    fs::File::open(restoring)
        .and_then(|file| file.sync_all())
        .map_err(at("sync", restoring))?;
    Ok(PreparedJournal {
        contents,
        revoked,
        token_ids,
    })
}

/// Makes every token invalid, also the one token of a host without users. Returns how many there were.
fn revoke(connection: &Connection) -> rusqlite::Result<u64> {
    let tokens = connection.execute("DELETE FROM tokens", [])?;
    let first = connection.execute("DELETE FROM meta WHERE key = ?1", [META_ADMIN_TOKEN])?;
    Ok((tokens + first) as u64)
}

fn token_ids(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut all = connection.prepare("SELECT id FROM tokens")?;
    all.query_map([], |row| row.get(0))?.collect()
}

/// Gives the old journal a second name. Folds its log into it first; if the journal is too damaged for
/// that, its log is kept beside it.
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

/// Folds the log into the database at `path` and empties the log. Fails if another connection uses it.
/// The last connection that closes removes the log.
fn settle(path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
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
