//! The journal: every event of every program, durable before any of its effects runs.
//!
//! ```text
//! driver ──append──► queue (1,024) ──► writer thread ──one transaction per batch──► SQLite (WAL,
//!    ▲                                      │                                        full sync)
//!    └────────── durable, or why not ───────┘
//! ```
//!
//! One thread writes. It puts all writes that wait in the queue, up to a bound, into one transaction, so
//! that many programs share the price of one `fsync` (group commit). Readers use a connection of their
//! own and never wait for the writer. Old records are folded into snapshots or removed (`retention`).
//!
//! This crate holds all SQL of a host, and nothing but SQL. Other crates decide who may do what, how an
//! answer looks and what a program does next. They give and get rows, and never see a transaction.

mod accounts;
mod answers;
mod audit;
mod backup;
mod connections;
mod error;
mod fold;
mod home;
mod metrics;
#[cfg(any(test, feature = "testkit"))]
mod probed_writer;
mod program_records;
mod programs;
mod reserve;
mod retention;
mod right;
mod schema;
mod writer;

pub use accounts::{AccountRows, META_ADMIN_TOKEN, TokenRow, UserRow};
pub use answers::KeptAnswer;
pub use audit::{AuditAttempt, AuditOutcome, AuditRow};
pub use backup::{
    BackupError, BackupTokens, Contents, RestoredJournal, backup, backup_to, check, restore,
};
pub use error::{JournalError, OpenError};
pub use home::Home;
pub use metrics::JournalMetrics;
#[cfg(any(test, feature = "testkit"))]
pub use probed_writer::{CommitPoint, WriteFate};
pub use program_records::ProgramRecords;
pub use programs::Page;
pub use reserve::WritePurpose;
pub use retention::IDEMPOTENCY_MS;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_base::{locked::locked, right::Right};
use hersh_program::ProgramStepper;
use rusqlite::{Connection, OptionalExtension, Transaction};
use tokio::sync::{mpsc, oneshot};

use connections::Connections;
use reserve::Reserve;
use writer::{Job, Write};

/// The journal's file in its folder.
pub const JOURNAL_FILE: &str = "journal.db";

/// The most writes that wait for the writer thread. A full queue makes the next caller wait.
const QUEUE_LENGTH_MAX: usize = 1_024;

/// The key of a program's rows. A new program with the name of a removed one gets another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProgramRow(i64);

impl ProgramRow {
    /// Returns the number of the program's row, which no other program of the host has or had.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

/// A program as the journal holds it.
pub struct StoredProgram {
    /// The key of its rows.
    pub row: ProgramRow,
    /// The id of the user who owns it.
    pub owner: String,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When its last event was taken in, milliseconds since the Unix epoch; without events, when it was
    /// created.
    pub last_event_ms: u64,
    /// The number of the last record that was folded into its snapshot; 0 without one.
    pub snapshot_seq: u64,
    /// Its state and open operations after its last record.
    pub stepper: ProgramStepper,
}

/// The handle of the journal; clones share one writer and one reader.
#[derive(Clone, Debug)]
pub struct Journal {
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
    metrics: JournalMetrics,
    folder: Arc<Path>,
}

/// How writes are carried out.
#[derive(Clone, Debug)]
enum Writer {
    /// By a thread that takes them from a queue.
    Thread(mpsc::Sender<Box<dyn Job>>),
    /// By the task of the caller, with a probe at every commit.
    #[cfg(any(test, feature = "testkit"))]
    Probed(Arc<probed_writer::ProbedWriter>),
}

impl Journal {
    /// Opens or creates the journal at `path` and checks it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, None)
    }

    /// Like [`Journal::open`], with a reserve of space for writes that free space (see [`WritePurpose`]). A
    /// host that serves needs it, because its programs may fill the disk.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_with_reserve(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, Some(Reserve::new(path)))
    }

    fn open_with(path: &Path, reserve: Option<Reserve>) -> Result<Self, OpenError> {
        let connections = Connections::open(path)?;
        let reader = connections.reader();
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH_MAX);
        let metrics = JournalMetrics::default();
        let measured = metrics.clone();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer::run(connections, jobs, &measured, reserve))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            writer: Writer::Thread(queue),
            reader,
            metrics,
            folder: folder_of(path),
        })
    }

    /// Like [`Journal::open`], for tests: there is no thread, and `probe` decides before and after
    /// every commit how the write goes on.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    #[cfg(any(test, feature = "testkit"))]
    pub fn open_probed(
        path: &Path,
        probe: impl Fn(CommitPoint) -> WriteFate + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let (writer, index) = schema::open(path)?;
        let writer = probed_writer::ProbedWriter::new(writer, Box::new(probe));
        Ok(Self {
            writer: Writer::Probed(Arc::new(writer)),
            reader: Arc::new(Mutex::new(schema::open_reader(path, index)?)),
            metrics: JournalMetrics::default(),
            folder: folder_of(path),
        })
    }

    /// Returns the folder that the journal lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the measurements of the writer.
    pub fn metrics(&self) -> &JournalMetrics {
        &self.metrics
    }

    /// Returns how many writes wait in the queue.
    pub fn queue_length(&self) -> usize {
        match &self.writer {
            Writer::Thread(queue) => queue.max_capacity() - queue.capacity(),
            #[cfg(any(test, feature = "testkit"))]
            Writer::Probed(_) => 0,
        }
    }

    /// Stores a value of the host under `key`.
    ///
    /// # Errors
    /// When the journal can't be read or written.
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

    /// Removes the host's value under `key`.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub async fn remove_meta(&self, key: &'static str) -> Result<(), JournalError> {
        self.write_freeing(move |transaction| {
            transaction.execute("DELETE FROM meta WHERE key = ?1", [key])?;
            Ok(())
        })
        .await
    }

    /// Returns the host's value under `key`. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
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

    /// Hands `work`, which notes the outcome of something, to the writer without waiting for the write.
    /// The writer carries `work` out after all earlier writes and before all later ones.
    ///
    /// # Errors
    /// [`JournalError::Closed`]; an error of `work` itself goes to the log.
    pub(crate) async fn enqueue(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        let tell = |outcome| {
            if let Err(error) = outcome {
                tracing::error!(%error, "a queued write failed, and its caller did not wait for the result");
            }
        };
        self.hand_over(Box::new(Write::new(WritePurpose::Freeing, work, tell)))
            .await
    }

    /// Carries `work` out on the writer's thread, in a transaction that it may share with other writes.
    /// What `work` wrote is on the disk when this returns. If the task acts for a token, the right of that
    /// token is checked in the same transaction, so that a token that was revoked meanwhile changes nothing.
    ///
    /// # Errors
    /// The error of `work`, after which nothing of its work is written; [`JournalError::Revoked`]; or the
    /// error of the disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.write_for(WritePurpose::Ordinary, work).await
    }

    /// Like [`Journal::write`], for work that frees space: it may use the journal's reserve.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub(crate) async fn write_freeing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.write_for(WritePurpose::Freeing, work).await
    }

    /// Like [`Journal::write`], for `purpose`.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub(crate) async fn write_for<T: Send + 'static>(
        &self,
        purpose: WritePurpose,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.write_by(purpose, Right::carried().as_ref(), work)
            .await
    }

    /// Like [`Journal::write_for`], but checks `right` instead of the task's own right.
    async fn write_by<T: Send + 'static>(
        &self,
        purpose: WritePurpose,
        right: Option<&Right>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let right = right.map(|right| (right.clone(), right.now_ms()));
        let work = move |transaction: &Transaction<'_>| {
            if let Some((right, now_ms)) = right {
                right::check(&right, transaction, now_ms)?;
            }
            work(transaction)
        };
        let (reply, answer) = oneshot::channel();
        // The caller may have stopped waiting for the answer; what was written stays.
        let tell = move |outcome| drop(reply.send(outcome));
        self.hand_over(Box::new(Write::new(purpose, work, tell)))
            .await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Waits until every write queued before is on the disk, and checks that the right of this task still
    /// holds. Call it before a change outside the journal: no transaction checks the right for that, so a
    /// revoked token could still make the change.
    ///
    /// # Errors
    /// [`JournalError::Revoked`], or the error of the disk.
    pub async fn flush(&self) -> Result<(), JournalError> {
        self.write_freeing(|_| Ok(())).await
    }

    /// Waits until the writer has ended. While a handle exists, only a defect ends the writer.
    pub async fn writer_ended(&self) {
        match &self.writer {
            Writer::Thread(queue) => queue.closed().await,
            #[cfg(any(test, feature = "testkit"))]
            Writer::Probed(_) => std::future::pending().await,
        }
    }

    /// Ends the writer as a defect in it would, for tests.
    #[cfg(any(test, feature = "testkit"))]
    pub async fn break_writer(&self) {
        let defect = self.write(|_| -> Result<(), JournalError> { panic!("a defect") });
        // The writer panics before it can answer, so an error is expected here.
        let _ = defect.await;
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

    /// Calls `work` with a connection that can't write. Blocks on the disk.
    ///
    /// # Errors
    /// The error of `work`.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        work(&self.reader())
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A reader that panicked left nothing half-done: it holds no transaction.
        locked(&self.reader)
    }
}

fn folder_of(path: &Path) -> Arc<Path> {
    path.parent().unwrap_or(Path::new(".")).into()
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Sqlite(error.to_string()))
}

#[cfg(test)]
mod tests;
