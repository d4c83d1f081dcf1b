//! Opens, checks and migrates the database file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use super::{OpenError, error::has_no_space, fold};

/// Entry `n` brings a database from version `n` to `n + 1`. Entries are never changed.
const MIGRATIONS: [&str; 5] = [
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
    include_str!("0005.sql"),
];

/// The size to which the log is cut back once it was folded into the database, bytes.
const LOG_BYTES_MAX: u32 = 64 * 1024 * 1024;
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where SQLite keeps the index of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// In a file beside the database: other processes can read the database meanwhile.
    Shared,
    /// In the memory of this process: no other process can use the database. This is for a full disk, where
    /// SQLite can't make the index file, which it makes anew at each start.
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

/// Opens the writer's connection; creates, checks and migrates the database. If the journal is refused,
/// its file is unchanged, byte by byte.
pub(super) fn open(path: &Path) -> Result<(Connection, Index), OpenError> {
    match open_by(Index::Shared, path) {
        Err(OpenError::Sqlite { source, .. }) if has_no_space(&source) => {
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
        // A read-only connection would release the lock that keeps other processes out.
        Index::Own => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    };
    let connection = index.connect(path, flags).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(sqlite)?;
    Ok(connection)
}

/// Configures the connection, and changes nothing in the file. Closing the connection does not fold the
/// log: a log that a crash left may belong to a journal that is refused and must stay unchanged, and on a
/// full disk no new log could be made.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Returns the schema version of the database; 0 if it is not a journal yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses a schema version that this host does not know, because a newer host wrote the database.
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

/// Checks the structure of the database. It is quick enough for every start.
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

/// Returns the error for a check that failed: [`OpenError::Sqlite`] if the disk had no space, otherwise
/// [`OpenError::Damaged`].
fn unchecked(path: &Path, source: rusqlite::Error) -> OpenError {
    if !has_no_space(&source) {
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
    // All migrations are committed together, or none, if this host can't read a program in the journal.
    let transaction = connection.transaction().map_err(sqlite)?;
    for (version, migration) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
        transaction.execute_batch(migration).map_err(sqlite)?;
        transaction
            .pragma_update(None, "user_version", version)
            .map_err(sqlite)?;
    }
    fold::load_all_in(&transaction).map_err(|source| OpenError::Unfit {
        path: path.display().to_string(),
        source,
    })?;
    transaction.commit().map_err(sqlite)
}
