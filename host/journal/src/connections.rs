//! The connections of the writer and of the readers, which a start on a full disk opens in another way.
//!
//! SQLite keeps an index of its log in a file beside the database. The first process that opens the
//! database makes this file. If the disk has no space for it, the index is in memory, and no other process
//! can read the journal, as a backup does. Once there is space, both connections are opened anew.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hersh_base::locked::locked;
use rusqlite::Connection;

use super::{
    OpenError,
    schema::{self, Index},
};

/// The time between two attempts to let other processes read the journal again.
const PAUSE: Duration = Duration::from_secs(10);
/// What must be free on the disk before an attempt, bytes: more than an index takes.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// The connections of one journal.
pub(super) struct Connections {
    pub(super) writer: Connection,
    reader: Arc<Mutex<Connection>>,
    path: PathBuf,
    index: Index,
    tried: Instant,
}

impl Connections {
    /// Opens, checks and migrates the journal at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let (writer, index) = schema::open(path)?;
        let reader = schema::open_reader(path, index)?;
        Ok(Self {
            writer,
            reader: Arc::new(Mutex::new(reader)),
            path: path.to_owned(),
            index,
            tried: Instant::now(),
        })
    }

    /// Returns the connection that all readers share.
    pub(super) fn reader(&self) -> Arc<Mutex<Connection>> {
        Arc::clone(&self.reader)
    }

    /// Lets other processes read the journal again, if the disk has space for the index. Call it only
    /// between two transactions, because it closes both connections.
    ///
    /// # Errors
    /// [`OpenError`]: the journal has no connection then.
    pub(super) fn share(&mut self) -> Result<(), OpenError> {
        if self.index == Index::Shared || self.tried.elapsed() < PAUSE {
            return Ok(());
        }
        self.tried = Instant::now();
        if free_bytes(&self.path) < FREE_BYTES_MIN {
            return Ok(());
        }
        let closed = |source| OpenError::Sqlite {
            path: self.path.display().to_string(),
            source,
        };
        let reader = Arc::clone(&self.reader);
        let mut reader = locked(&reader);
        // Both connections are closed first: as long as one is open, SQLite keeps the index in memory for
        // every connection of this process.
        *reader = Connection::open_in_memory().map_err(closed)?;
        self.writer = Connection::open_in_memory().map_err(closed)?;
        let (writer, index) = schema::open(&self.path)?;
        *reader = schema::open_reader(&self.path, index)?;
        (self.writer, self.index) = (writer, index);
        if index == Index::Shared {
            tracing::info!("other processes can read the journal again");
        }
        Ok(())
    }
}

fn free_bytes(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path);
    disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}
