//! Room that the journal keeps for what frees room.
//!
//! A program that fills the disk takes every block that becomes free, so nothing that is merely free
//! can be kept for anybody. What the journal's files hold already can:
//!
//! ```text
//! database ── pages without content ◄── new rows go there first
//! log      ── never cut shorter     ◄── written over from its start after each fold
//! ```
//! Whatever is written takes of the pages, and they are made up for as long as the disk has room.
//! Once it has none, what is left is for [`Purpose::Freeing`] alone: stop, remove, and what came of
//! them. (A file system that never writes over a block, such as Btrfs or ZFS, keeps no such room.)

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{JournalError, error::explain};

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It may wait until there is room.
    Ordinary,
    /// It ends something, frees room, or says what came of what was begun.
    Freeing,
}

/// Pages of the reserve once it is made up, 5 MiB: some thousand events, and a log as long, which
/// passes the 1,000 pages after which it is folded.
const PAGES: u64 = 1_280;
/// On a small disk it is this part of it.
const DISK_PART: u64 = 64;
const PAGE_BYTES: u64 = 4_096;
/// An attempt to make it up that did not succeed is repeated after so long.
const PAUSE: Duration = Duration::from_secs(1);
/// Where the pages are for the moment between being taken and being given back.
const META_RESERVE: &str = "reserve";

/// The reserve of one journal.
pub(super) struct Reserve {
    database: PathBuf,
    log: PathBuf,
    /// How many pages it has once it is made up.
    pages: u64,
    /// How the last attempt to make it up ended, if it is not made up.
    attempt: Option<(Instant, Level)>,
}

/// How the reserve stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Anybody may write.
    Whole,
    /// The disk has no room to make it up.
    Short,
}

impl Reserve {
    /// That of the journal at `database`.
    pub(super) fn new(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self {
            database: database.to_owned(),
            log: log.into(),
            pages: pages_on(database),
            attempt: None,
        }
    }

    /// Makes the reserve up if much of it is gone. Between two transactions only.
    pub(super) fn keep(&mut self, connection: &Connection) -> Level {
        if self.is_whole(connection) {
            self.note(None);
            return Level::Whole;
        }
        if let Some((at, level)) = self.attempt
            && at.elapsed() < PAUSE
        {
            return level;
        }
        let level = match self.make_up(connection) {
            Err(JournalError::Full) => Level::Short,
            // What else may be wrong is told by the next write.
            Ok(()) | Err(_) => Level::Whole,
        };
        self.note(Some((Instant::now(), level)));
        level
    }

    fn note(&mut self, attempt: Option<(Instant, Level)>) {
        let is_short = |attempt: Option<(Instant, Level)>| {
            attempt.is_some_and(|(_, level)| level == Level::Short)
        };
        match (is_short(self.attempt), is_short(attempt)) {
            (false, true) => tracing::error!(
                "the journal's disk is full: until there is room, only what frees room is written"
            ),
            (true, false) => tracing::info!("the journal's disk has room again"),
            (true, true) | (false, false) => {}
        }
        self.attempt = attempt;
    }

    fn is_whole(&self, connection: &Connection) -> bool {
        let log_bytes = fs::metadata(&self.log).map_or(0, |log| log.len());
        let free = number(connection, "PRAGMA freelist_count");
        // It is made up when less than half is left.
        log_bytes >= self.pages * PAGE_BYTES && free.is_ok_and(|free| free >= self.pages / 2)
    }

    /// Fills all pages, so that the disk gives blocks for them, in the log and then in the database,
    /// and empties them again.
    fn make_up(&self, connection: &Connection) -> Result<(), JournalError> {
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (?1, hex(zeroblob(?2)))
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (META_RESERVE, self.pages * PAGE_BYTES / 2),
        )?;
        fold_log(connection)?;
        if !self.has_blocks(connection)? {
            // A reader kept the log from being folded; the next look tries again.
            return Ok(());
        }
        connection.execute("DELETE FROM meta WHERE key = ?1", [META_RESERVE])?;
        Ok(())
    }

    /// Whether the database file is as long as it is meant to be once the log is folded.
    fn has_blocks(&self, connection: &Connection) -> Result<bool, JournalError> {
        let pages = number(connection, "PRAGMA page_count")?;
        let bytes = fs::metadata(&self.database).map_or(0, |database| database.len());
        Ok(bytes >= pages * PAGE_BYTES)
    }
}

/// Moves what stands in the log into the database, as far as readers allow: the next transaction
/// begins at the log's start again.
pub(super) fn fold_log(connection: &Connection) -> Result<(), JournalError> {
    let folded = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    folded.map_err(|error| explain(&error))
}

fn pages_on(database: &Path) -> u64 {
    let folder = database.parent().unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(folder);
    let bytes = disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    (bytes / DISK_PART / PAGE_BYTES).min(PAGES)
}

fn number(connection: &Connection, pragma: &str) -> Result<u64, JournalError> {
    let mut statement = connection.prepare_cached(pragma)?;
    Ok(statement.query_row([], |row| row.get(0))?)
}
