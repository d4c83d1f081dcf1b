//! Opening, checking and migrating the database file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use super::{OpenError, fold};

/// Entry `n` brings a database from version `n` to `n + 1`. Entries are never changed.
const MIGRATIONS: [&str; 4] = [
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
];

/// The log is cut back to this size once it was folded into the database.
const LOG_BYTES_MAX: u32 = 64 * 1024 * 1024;
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the writer's connection: creates, checks and migrates. A journal that is refused is left as
/// it was, byte by byte.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let mut connection = Connection::open(path).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    check(&connection, path)?;
    migrate(&mut connection, path)?;
    keep_a_log(&connection).map_err(sqlite)?;
    Ok(connection)
}

/// Opens a connection that can't write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    Ok(connection)
}

/// Settings of this connection, which change nothing in the file. A log that a crash left is not
/// folded into the database when it is closed again: it may be one to refuse.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// From here on the database is this host's to change.
fn keep_a_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")
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
        .map_err(|error| damaged(path, error.to_string()))?;
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
        .map_err(|error| damaged(path, error.to_string()))?;
    if first == "ok" {
        Ok(())
    } else {
        Err(damaged(path, first))
    }
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
