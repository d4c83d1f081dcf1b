//! The journal's reserve: space for writes that free space.
//!
//! A program that fills the disk takes every block that becomes free, so free blocks can't be kept for
//! the journal. Only blocks that the journal's files already hold can be kept:
//!
//! ```text
//! database ── pages without content ◄── new rows go there first
//! log      ── never cut shorter     ◄── written over from its start after each fold
//! ```
//! Every write uses up pages of the reserve, and the reserve is refilled as long as the disk has space.
//! Once the disk has none, the pages that are left serve only writes with [`WritePurpose::Freeing`]: stop,
//! remove, and their outcomes. (A file system that never writes over a block, such as Btrfs or ZFS, keeps
//! no such space.)

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{JournalError, error::explain};

/// The purpose of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePurpose {
    /// A write that can wait until the disk has space. It may not use the reserve.
    Ordinary,
    /// A write that ends something, frees space, or notes the outcome of something that was begun.
    Freeing,
}

/// The pages of a full reserve, 5 MiB: space for some thousand events, and for a log as long, which
/// passes the 1,000 pages after which it is folded.
const PAGES: u64 = 1_280;
/// On a small disk, a full reserve is the disk's size divided by this number.
const DISK_PART: u64 = 64;
const PAGE_BYTES: u64 = 4_096;
/// The time between two attempts to refill the reserve.
const PAUSE: Duration = Duration::from_secs(1);
/// The key in the table `meta` of the row that fills the pages for a moment, until it is deleted again.
const META_RESERVE: &str = "reserve";

/// The reserve of one journal.
pub(super) struct Reserve {
    database: PathBuf,
    log: PathBuf,
    /// How many pages it has when it is full.
    pages: u64,
    /// When the last attempt to refill it was made, and how it ended; `None` if the reserve is full.
    attempt: Option<(Instant, ReserveLevel)>,
}

/// Whether the reserve can be refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReserveLevel {
    /// Every write is allowed.
    Whole,
    /// The disk has no space to refill the reserve: only writes that free space are allowed.
    Short,
}

impl Reserve {
    /// The reserve of the journal at `database`.
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

    /// Refills the reserve if much of it is used up. Call it only between two transactions.
    pub(super) fn keep(&mut self, connection: &Connection) -> ReserveLevel {
        if self.is_whole(connection) {
            self.note(None);
            return ReserveLevel::Whole;
        }
        if let Some((at, level)) = self.attempt
            && at.elapsed() < PAUSE
        {
            return level;
        }
        let level = match self.make_up(connection) {
            Err(JournalError::Full) => ReserveLevel::Short,
            // The next write reports any other failure.
            Ok(()) | Err(_) => ReserveLevel::Whole,
        };
        self.note(Some((Instant::now(), level)));
        level
    }

    fn note(&mut self, attempt: Option<(Instant, ReserveLevel)>) {
        let is_short = |attempt: Option<(Instant, ReserveLevel)>| {
            attempt.is_some_and(|(_, level)| level == ReserveLevel::Short)
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
        // The reserve is refilled only when less than half of its pages are left.
        log_bytes >= self.pages * PAGE_BYTES && free.is_ok_and(|free| free >= self.pages / 2)
    }

    /// Fills all pages of the reserve and empties them again, so that the file system gives them blocks, in
    /// the log and then in the database.
    fn make_up(&self, connection: &Connection) -> Result<(), JournalError> {
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (?1, hex(zeroblob(?2)))
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (META_RESERVE, self.pages * PAGE_BYTES / 2),
        )?;
        fold_log(connection)?;
        if !self.has_blocks(connection)? {
            // A reader kept the log from being folded; the next attempt comes after the pause.
            return Ok(());
        }
        connection.execute("DELETE FROM meta WHERE key = ?1", [META_RESERVE])?;
        Ok(())
    }

    /// Returns whether the database file is as long as all its pages, as it is once the log is folded.
    fn has_blocks(&self, connection: &Connection) -> Result<bool, JournalError> {
        let pages = number(connection, "PRAGMA page_count")?;
        let bytes = fs::metadata(&self.database).map_or(0, |database| database.len());
        Ok(bytes >= pages * PAGE_BYTES)
    }
}

/// Moves the content of the log into the database, as far as readers allow. If all of it was moved, the
/// next transaction begins at the log's start again.
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
