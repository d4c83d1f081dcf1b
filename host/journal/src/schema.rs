//! Opening, checking and migrating the database file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use super::{OpenError, error::has_no_room, fold};

/// Entry `n` brings a database from version `n` to `n + 1`. Entries are never changed.
const MIGRATIONS: [&str; 5] = [
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
    include_str!("0005.sql"),
];

/// The log is cut back to this size once it was folded into the database.
const LOG_BYTES_MAX: u32 = 64 * 1024 * 1024;
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the index of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// In a file beside the database: other processes may read it meanwhile.
    Shared,
    /// In the memory of this process, which has the database to itself. SQLite makes the file anew at
    /// each start, and on a full disk it can't.
    Own,
}

impl Index {
    fn connect(self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        match self {
            Self::Shared => Connection::open_with_flags(path, flags),
            Self::Own => Connection::open_with_flags_and_vfs(path, flags, c"unix-excl"),
        }
    }
}

/// Opens the writer's connection: creates, checks and migrates. A journal that is refused is left as
/// it was, byte by byte.
pub(super) fn open(path: &Path) -> Result<(Connection, Index), OpenError> {
    match open_by(Index::Shared, path) {
        Err(OpenError::Sqlite { source, .. }) if has_no_room(&source) => {
            tracing::warn!(
                "the disk of the journal is full: until a start with room, no other process can read the journal, as a backup does"
            );
            open_by(Index::Own, path)
        }
        opened => opened,
    }
}

fn open_by(index: Index, path: &Path) -> Result<(Connection, Index), OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let mut connection = index.connect(path, OpenFlags::default()).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    check(&connection, path)?;
    migrate(&mut connection, path)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(sqlite)?;
    Ok((connection, index))
}

/// Opens a connection that can't write.
pub(super) fn open_reader(path: &Path, index: Index) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let flags = match index {
        Index::Shared => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        // A read-only one would let go of the lock that keeps other processes out.
        Index::Own => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    };
    let connection = index.connect(path, flags).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(sqlite)?;
    Ok(connection)
}

/// Settings of this connection, which change nothing in the file. The log stays as it is when the
/// connection is closed: one that a crash left may be one to refuse, and on a full disk no other could
/// be made.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Which migration the database is at; 0 for one that is no journal yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses a database of a newer host.
pub(super) fn known(found: u32, path: &Path) -> Result<(), OpenError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::TooNew {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    Ok(())
}

/// Checks every page, every index and every reference. Takes as long as reading the file does.
pub(super) fn check_whole(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    check_by(connection, "PRAGMA integrity_check(1)", path)?;
    let stray: Option<String> = connection
        .query_row("PRAGMA foreign_key_check", [], |row| row.get(0))
        .optional()
        .map_err(|error| unchecked(path, error))?;
    match stray {
        None => Ok(()),
        Some(table) => Err(damaged(path, format!("{table} names what is not there"))),
    }
}

/// Checks the structure, quickly: at every start.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    check_by(connection, "PRAGMA quick_check(1)", path)
}

fn check_by(connection: &Connection, pragma: &str, path: &Path) -> Result<(), OpenError> {
    let first: String = connection
        .query_row(pragma, [], |row| row.get(0))
        .map_err(|error| unchecked(path, error))?;
    if first == "ok" {
        Ok(())
    } else {
        Err(damaged(path, first))
    }
}

/// A check that could not be made to its end: for want of room, or because of what it met.
fn unchecked(path: &Path, source: rusqlite::Error) -> OpenError {
    if !has_no_room(&source) {
        return damaged(path, source.to_string());
    }
    let path = path.display().to_string();
    OpenError::Sqlite { path, source }
}

fn damaged(path: &Path, message: String) -> OpenError {
    OpenError::Damaged {
        path: path.display().to_string(),
        message,
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let found = version(connection).map_err(sqlite)?;
    known(found, path)?;
    if found as usize == MIGRATIONS.len() {
        return Ok(());
    }
    // All or nothing, and nothing if a program in it can't be brought back.
    let transaction = connection.transaction().map_err(sqlite)?;
    for (version, migration) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
        transaction.execute_batch(migration).map_err(sqlite)?;
        transaction
            .pragma_update(None, "user_version", version)
            .map_err(sqlite)?;
    }
    fold::every_in(&transaction).map_err(|source| OpenError::Unfit {
        path: path.display().to_string(),
        source,
    })?;
    transaction.commit().map_err(sqlite)
}
