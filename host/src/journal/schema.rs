//! Opening, checking and migrating the database file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// Entry `n` brings a database from version `n` to `n + 1`. Entries are never changed.
const MIGRATIONS: [&str; 2] = [include_str!("0001.sql"), include_str!("0002.sql")];

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the writer's connection: creates, checks and migrates.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let mut connection = Connection::open(path).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    check(&connection, path)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens a connection that can't write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |message: String| OpenError::Damaged {
        path: path.display().to_string(),
        message,
    };
    let first: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if first == "ok" {
        Ok(())
    } else {
        Err(damaged(first))
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(sqlite)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::TooNew {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    for (version, migration) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction().map_err(sqlite)?;
        transaction.execute_batch(migration).map_err(sqlite)?;
        transaction
            .pragma_update(None, "user_version", version)
            .map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
    }
    Ok(())
}
