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
#[cfg(any(test, feature = "testkit"))]
mod probed;
mod schema;
mod writer;

pub use error::{JournalError, OpenError};
#[cfg(any(test, feature = "testkit"))]
pub use probed::{CommitPoint, Verdict};

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hersh_program::{Program, ProgramId, ProgramRecord};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction};
use tokio::sync::{mpsc, oneshot};

use writer::{Job, Write};

use crate::{auth::UserId, idempotency::Kept};

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
    /// Whose it is.
    pub owner: String,
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
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
}

/// Who writes.
#[derive(Clone, Debug)]
enum Writer {
    /// A thread, behind a queue.
    Thread(mpsc::Sender<Box<dyn Job>>),
    /// The one who asks, with a probe at every commit.
    #[cfg(any(test, feature = "testkit"))]
    Probed(Arc<probed::Probed>),
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
            writer: Writer::Thread(queue),
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    /// Like [`Journal::open`], for tests: there is no thread, and `probe` decides before and after
    /// every commit how it goes.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    #[cfg(any(test, feature = "testkit"))]
    pub fn open_probed(
        path: &Path,
        probe: impl Fn(CommitPoint) -> Verdict + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let writer = probed::Probed::new(schema::open(path)?, Box::new(probe));
        Ok(Self {
            writer: Writer::Probed(Arc::new(writer)),
            reader: Arc::new(Mutex::new(schema::open_reader(path)?)),
        })
    }

    /// Stores a new program of `owner`.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if the name is taken; others as the disk says.
    pub async fn create(
        &self,
        owner: &str,
        created_at_ms: u64,
        initial: &Program,
    ) -> Result<ProgramRow, JournalError> {
        let (id, owner) = (initial.id.clone(), owner.to_owned());
        let initial = to_json(initial)?;
        self.write(move |transaction| {
            insert_program(transaction, id, &owner, created_at_ms, &initial)
        })
        .await
    }

    /// Stores a new program of a user of the host, and the answer to a call that may be repeated.
    ///
    /// # Errors
    /// Like [`Journal::create`], and [`JournalError::NoOwner`].
    pub(crate) async fn create_once(
        &self,
        owner: &UserId,
        created_at_ms: u64,
        initial: &Program,
        kept: Option<Kept>,
    ) -> Result<ProgramRow, JournalError> {
        let (id, owner) = (initial.id.clone(), owner.clone());
        let initial = to_json(initial)?;
        self.write(move |transaction| {
            // The owner may have been removed since the call was let in.
            let is_there = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1)";
            if !transaction.query_row(is_there, [owner.as_str()], |row| row.get(0))? {
                return Err(JournalError::NoOwner(owner.to_string()));
            }
            let row = insert_program(transaction, id, owner.as_str(), created_at_ms, &initial)?;
            if let Some(kept) = kept {
                kept.insert(transaction)?;
            }
            Ok(row)
        })
        .await
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
        let (seq, now_ms) = (record.seq, record.now_ms);
        let event = to_json(&record.event)?;
        let effects = to_json(&record.effects)?;
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO records (program, seq, now_ms, event, effects)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (program, seq) DO UPDATE
                     SET now_ms = excluded.now_ms, event = excluded.event, effects = excluded.effects",
                )?
                .execute((row.0, seq, now_ms, event, effects))?;
            Ok(())
        })
        .await
    }

    /// Forgets a program and its records.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn remove(&self, row: ProgramRow) -> Result<(), JournalError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM programs WHERE row = ?1", [row.0])?;
            Ok(())
        })
        .await
    }

    /// Keeps a value of the host under `key`.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn set_meta(&self, key: &'static str, value: String) -> Result<(), JournalError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets the host's value under `key`.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn remove_meta(&self, key: &'static str) -> Result<(), JournalError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM meta WHERE key = ?1", [key])?;
            Ok(())
        })
        .await
    }

    /// The host's value under `key`. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.read(|reader| {
            reader
                .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                    row.get(0)
                })
                .optional()
                .map_err(JournalError::from)
        })
    }

    /// Every program, by name. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] names the record that this host can't read.
    pub fn load(&self) -> Result<Vec<StoredProgram>, JournalError> {
        let rows: Vec<(i64, String, String, u64, String)> = {
            let reader = self.reader();
            let mut statement = reader.prepare(
                "SELECT row, id, owner, created_at_ms, initial FROM programs ORDER BY id",
            )?;
            statement
                .query_map([], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                    ))
                })?
                .collect::<Result<_, _>>()?
        };
        let mut programs = Vec::with_capacity(rows.len());
        for (row, id, owner, created_at_ms, initial) in rows {
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
                owner,
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
            let mut statement = reader.prepare_cached(
                "SELECT seq, now_ms, event, effects FROM records
                 WHERE program = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            statement
                .query_map((row.0, after_seq, limit), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect::<Result<_, _>>()?
        };
        stored
            .into_iter()
            .map(|(seq, now_ms, event, effects)| parse(row, seq, now_ms, &event, &effects))
            .collect()
    }

    /// Hands `work` to the writer without waiting for it: it is carried out after everything handed
    /// over before and before everything handed over later.
    ///
    /// # Errors
    /// [`JournalError::Closed`]; what `work` itself says goes to the log.
    pub(crate) async fn enqueue(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        let tell = |outcome| {
            if let Err(error) = outcome {
                tracing::error!(%error, "something that nobody waits for was not written");
            }
        };
        self.hand_over(Box::new(Write::new(work, tell))).await
    }

    /// Carries `work` out on the writer's thread, in a transaction that it may share with others;
    /// what it wrote is on the disk when this returns.
    ///
    /// # Errors
    /// What `work` says, of which nothing is left then, or what the disk says.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        // The one who asked may have gone away; what was written stands.
        let tell = move |outcome| drop(reply.send(outcome));
        self.hand_over(Box::new(Write::new(work, tell))).await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    async fn hand_over(&self, job: Box<dyn Job>) -> Result<(), JournalError> {
        match &self.writer {
            Writer::Thread(queue) => queue.send(job).await.map_err(|_| JournalError::Closed),
            #[cfg(any(test, feature = "testkit"))]
            Writer::Probed(probed) => {
                probed.write(job).await;
                Ok(())
            }
        }
    }

    /// Reads on a connection that can't write. Blocks on the disk.
    ///
    /// # Errors
    /// What `work` says.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        work(&self.reader())
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

fn insert_program(
    transaction: &Transaction<'_>,
    id: ProgramId,
    owner: &str,
    created_at_ms: u64,
    initial: &str,
) -> Result<ProgramRow, JournalError> {
    transaction
        .prepare_cached(
            "INSERT INTO programs (id, owner, created_at_ms, initial) VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert((id.as_str(), owner, created_at_ms, initial))
        .map(ProgramRow)
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => JournalError::Exists(id),
            _ => error.into(),
        })
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Sqlite(error.to_string()))
}

#[cfg(test)]
mod tests;
