//! Putting a backup in the journal's place.
//!
//! ```text
//! lock ─► copy, migrate, check ─► fold the old one's log into it ─► second name for it ─► rename
//! ```
//! At every instant `journal.db` is one whole database: the old one, or from the rename on the new.

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

/// What becomes of the tokens in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// They are valid again, those that were removed since among them.
    Keep,
    /// None of them is valid from the first moment on.
    Revoke,
}

/// A journal that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub contents: Contents,
    /// How many tokens of the backup were made invalid.
    pub revoked: u64,
    /// Ids of tokens that are in it and were not in the journal that was there: those that were removed
    /// since. None are known if that journal can't be read.
    pub revived: BTreeSet<String>,
    /// Where the journal that was there before is kept, if there was one.
    pub kept: Option<PathBuf>,
}

/// Puts the copy `backup` in the place of the journal at `home`, whose folders are made if they are
/// not there. `now_s` names what is kept of the old one: seconds since the Unix epoch. Blocks on
/// the disk.
///
/// # Errors
/// [`BackupError`], also while a host uses the folder; the journal is as it was.
pub fn restore(
    home: impl Into<Home>,
    backup: &Path,
    tokens: Tokens,
    now_s: u64,
) -> Result<Restored, BackupError> {
    let home = home.into();
    let (data, folder) = (home.data(), home.folder());
    partial::is_readable(backup)?;
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
        // Why it failed matters more than a leftover, which the next restore replaces.
        let _ = remove_database(&restoring);
    }
    let prepared = prepared?;
    // There may be none yet, or one so damaged that it is why this is done.
    let before = open_read_only(&journal).ok();
    let before = before.and_then(|connection| token_ids(&connection).ok());
    let revived = before.map_or_else(BTreeSet::new, |before| &prepared.token_ids - &before);
    let kept = if journal.exists() {
        Some(keep(&journal, now_s)?)
    } else {
        None
    };
    // A log without its database must not be taken for the new one's.
    remove_logs(&journal)?;
    sync(folder)?;
    fs::rename(&restoring, &journal).map_err(at("name", &journal))?;
    sync(folder)?;
    Ok(Restored {
        contents: prepared.contents,
        revoked: prepared.revoked,
        revived,
        kept,
    })
}

/// What takes the journal's place.
struct Prepared {
    contents: Contents,
    revoked: u64,
    token_ids: BTreeSet<String>,
}

/// Makes of the backup what the next host will open.
fn prepare(backup: &Path, restoring: &Path, tokens: Tokens) -> Result<Prepared, BackupError> {
    remove_database(restoring)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(restoring).map_err(at("make", restoring))?;
    copy(backup, restoring)?;
    let (connection, _index) = schema::open(restoring)?;
    let revoked = match tokens {
        Tokens::Keep => Ok(0),
        Tokens::Revoke => revoke(&connection),
    };
    let counted = revoked.and_then(|revoked| Ok((revoked, token_ids(&connection)?)));
    let (revoked, token_ids) = counted.map_err(|source| OpenError::sqlite(restoring, source))?;
    drop(connection);
    let contents = examine(restoring)?;
    settle(restoring)?;
    fs::File::open(restoring)
        .and_then(|file| file.sync_all())
        .map_err(at("sync", restoring))?;
    Ok(Prepared {
        contents,
        revoked,
        token_ids,
    })
}

/// Makes every token invalid, the one of hosts before users too; how many that were.
fn revoke(connection: &Connection) -> rusqlite::Result<u64> {
    let tokens = connection.execute("DELETE FROM tokens", [])?;
    let first = connection.execute("DELETE FROM meta WHERE key = ?1", [META_ADMIN_TOKEN])?;
    Ok((tokens + first) as u64)
}

fn token_ids(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut all = connection.prepare("SELECT id FROM tokens")?;
    all.query_map([], |row| row.get(0))?.collect()
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
