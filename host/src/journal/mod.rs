//! The journal: every event of every program, durable before any of its effects runs.
//!
//! ```text
//! driver ──append──► queue (1,024) ──► writer thread ──one transaction per batch──► SQLite (WAL,
//!    ▲                                      │                                        full sync)
//!    └────────── durable, or why not ───────┘
//! ```
//!
//! One thread writes. Whatever waits when it comes round goes into one transaction, so that many
//! programs share the price of one `fsync` (group commit). Readers use a connection of their own
//! and never wait for the writer.

mod error;
mod schema;
mod writer;

pub use error::{JournalError, OpenError};

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hersh_program::{Program, ProgramRecord};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::{mpsc, oneshot};

use writer::{Job, Write};

/// Writes that wait for the writer thread. A full queue makes the next writer wait.
const QUEUE_LENGTH_MAX: usize = 1_024;

/// Names a program's rows. A name that is used again gets new rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProgramRow(pub(crate) i64);

/// A program as the journal holds it: its first state and all that happened since.
#[derive(Debug)]
pub struct StoredProgram {
    /// Its rows.
    pub row: ProgramRow,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The state before the first record.
    pub initial: Program,
    /// In order of `seq`.
    pub records: Vec<ProgramRecord>,
}

/// The handle of the journal; clones share one writer and one reader.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<Job>,
    reader: Arc<Mutex<Connection>>,
}

impl Journal {
    /// Opens or creates the journal at `path` and checks it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let writer = schema::open(path)?;
        let reader = schema::open_reader(path)?;
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH_MAX);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer::run(writer, jobs))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            queue,
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    /// Stores a new program.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if the name is taken; others as the disk says.
    pub async fn create(
        &self,
        created_at_ms: u64,
        initial: &Program,
    ) -> Result<ProgramRow, JournalError> {
        let program = initial.id.clone();
        let initial = to_json(initial)?;
        self.write(Write::Create {
            program,
            created_at_ms,
            initial,
        })
        .await
        .map(ProgramRow)
    }

    /// Appends a record; it is on the disk when this returns. A record of the same number, left
    /// by an attempt whose outcome nobody learned, is replaced.
    ///
    /// # Errors
    /// As the disk says; the record is then not in the journal.
    pub async fn append(
        &self,
        row: ProgramRow,
        record: &ProgramRecord,
    ) -> Result<(), JournalError> {
        let write = Write::Append {
            row: row.0,
            seq: record.seq,
            now_ms: record.now_ms,
            event: to_json(&record.event)?,
            effects: to_json(&record.effects)?,
        };
        self.write(write).await.map(drop)
    }

    /// Forgets a program and its records.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn remove(&self, row: ProgramRow) -> Result<(), JournalError> {
        self.write(Write::Remove { row: row.0 }).await.map(drop)
    }

    /// Keeps a value of the host under `key`.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn set_meta(&self, key: &'static str, value: String) -> Result<(), JournalError> {
        self.write(Write::SetMeta { key, value }).await.map(drop)
    }

    /// The host's value under `key`. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.reader()
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| writer::explain(&error))
    }

    /// Every program, by name. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] names the record that this host can't read.
    pub fn load(&self) -> Result<Vec<StoredProgram>, JournalError> {
        let rows: Vec<(i64, String, u64, String)> = {
            let reader = self.reader();
            let mut statement = reader
                .prepare("SELECT row, id, created_at_ms, initial FROM programs ORDER BY id")
                .map_err(|error| writer::explain(&error))?;
            let rows = statement
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .and_then(Iterator::collect);
            rows.map_err(|error| writer::explain(&error))?
        };
        let mut programs = Vec::with_capacity(rows.len());
        for (row, id, created_at_ms, initial) in rows {
            let initial =
                serde_json::from_str(&initial).map_err(|error| JournalError::Unreadable {
                    program: id,
                    seq: 0,
                    message: error.to_string(),
                })?;
            let row = ProgramRow(row);
            let records = self.records(row, 0, usize::MAX)?;
            programs.push(StoredProgram {
                row,
                created_at_ms,
                initial,
                records,
            });
        }
        Ok(programs)
    }

    /// At most `limit` records of a program after `seq`. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] names the record that this host can't read.
    pub fn records(
        &self,
        row: ProgramRow,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<ProgramRecord>, JournalError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let stored: Vec<(u64, u64, String, String)> = {
            let reader = self.reader();
            let mut statement = reader
                .prepare_cached(
                    "SELECT seq, now_ms, event, effects FROM records
                     WHERE program = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                )
                .map_err(|error| writer::explain(&error))?;
            let rows = statement
                .query_map((row.0, after_seq, limit), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .and_then(Iterator::collect);
            rows.map_err(|error| writer::explain(&error))?
        };
        stored
            .into_iter()
            .map(|(seq, now_ms, event, effects)| parse(row, seq, now_ms, &event, &effects))
            .collect()
    }

    async fn write(&self, write: Write) -> Result<i64, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Job { write, reply })
            .await
            .map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A reader that panicked left nothing half-done: it holds no transaction.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(
    row: ProgramRow,
    seq: u64,
    now_ms: u64,
    event: &str,
    effects: &str,
) -> Result<ProgramRecord, JournalError> {
    let unreadable = |error: serde_json::Error| JournalError::Unreadable {
        program: format!("program row {}", row.0),
        seq,
        message: error.to_string(),
    };
    Ok(ProgramRecord {
        seq,
        now_ms,
        event: serde_json::from_str(event).map_err(unreadable)?,
        effects: serde_json::from_str(effects).map_err(unreadable)?,
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Sqlite(error.to_string()))
}

#[cfg(test)]
mod tests;
