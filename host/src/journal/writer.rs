//! The one thread that writes.

use std::time::Instant;

use rusqlite::{Connection, ErrorCode, Transaction};
use tokio::sync::mpsc;

use super::JournalError;
use crate::metrics::JournalMetrics;

/// Writes that share one transaction. Bounds how long the first of them waits.
const BATCH_LENGTH_MAX: usize = 512;

/// One write: carried out inside a transaction, answered once that is on the disk.
pub(super) trait Job: Send {
    /// Carries the write out and keeps its outcome.
    ///
    /// # Errors
    /// What the one who asked is told, too.
    fn execute(&mut self, transaction: &Transaction<'_>) -> Result<(), JournalError>;

    /// Answers the one who asked: with the outcome kept, or with what the commit said.
    fn answer(self: Box<Self>, committed: Result<(), JournalError>);
}

/// A write as a function over the transaction, and who is told of its outcome.
pub(super) struct Write<T, F, D> {
    work: Option<F>,
    outcome: Result<T, JournalError>,
    tell: D,
}

impl<T, F, D> Write<T, F, D>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send,
    D: FnOnce(Result<T, JournalError>) + Send,
{
    pub(super) fn new(work: F, tell: D) -> Self {
        Self {
            work: Some(work),
            outcome: Err(JournalError::Closed),
            tell,
        }
    }
}

impl<T, F, D> Job for Write<T, F, D>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, JournalError> + Send,
    D: FnOnce(Result<T, JournalError>) + Send,
{
    fn execute(&mut self, transaction: &Transaction<'_>) -> Result<(), JournalError> {
        if let Some(work) = self.work.take() {
            self.outcome = alone(transaction, work);
        }
        self.outcome.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, committed: Result<(), JournalError>) {
        let Self { outcome, tell, .. } = *self;
        tell(committed.and(outcome));
    }
}

/// A write of several statements that fails leaves none of them behind.
fn alone<T>(
    transaction: &Transaction<'_>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let say = |statement| {
        transaction
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute([]))
            .map_err(|error| explain(&error))
    };
    say("SAVEPOINT write")?;
    let outcome = work(transaction);
    if outcome.is_err() && !transaction.is_autocommit() {
        say("ROLLBACK TO write")?;
    }
    if !transaction.is_autocommit() {
        say("RELEASE write")?;
    }
    outcome
}

/// Writes until every handle is dropped.
pub(super) fn run(
    mut connection: Connection,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    metrics: &JournalMetrics,
) {
    let mut batch = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        batch.push(job);
        while batch.len() < BATCH_LENGTH_MAX {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        let (began, writes) = (Instant::now(), batch.len());
        let done = commit(&mut connection, &mut batch, |job, outcome| {
            job.answer(outcome)
        });
        metrics.committed(writes, began.elapsed(), done);
    }
}

/// Carries a batch out in one transaction, then gives each write its outcome: nobody hears of
/// success before the commit. A write that fails by itself fails alone; a commit that fails, fails
/// them all. True if it was written.
pub(super) fn commit(
    connection: &mut Connection,
    batch: &mut Vec<Box<dyn Job>>,
    mut answer: impl FnMut(Box<dyn Job>, Result<(), JournalError>),
) -> bool {
    let outcome = carry_out(connection, batch);
    if let Err(error) = &outcome {
        tracing::error!(%error, writes = batch.len(), "journal batch was not written");
    }
    for job in batch.drain(..) {
        answer(job, outcome.clone());
    }
    outcome.is_ok()
}

fn carry_out(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> Result<(), JournalError> {
    let transaction = connection.transaction()?;
    for job in batch {
        let done = job.execute(&transaction);
        // A full disk or one that fails can make SQLite take the whole transaction back. What followed
        // would be written by itself, and those who asked would be told that it was not.
        if transaction.is_autocommit() {
            return done.and(Err(JournalError::Sqlite(
                "the transaction was taken back".to_owned(),
            )));
        }
    }
    Ok(transaction.commit()?)
}

/// Says what SQLite said, with the full disk told from the rest.
pub(crate) fn explain(error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full,
        _ => JournalError::Sqlite(error.to_string()),
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        explain(&error)
    }
}
