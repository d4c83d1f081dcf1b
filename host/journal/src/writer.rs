//! The one thread that writes.

use std::time::Instant;

use rusqlite::{Connection, Transaction};
use tokio::sync::mpsc;

use super::metrics::JournalMetrics;
use super::{
    JournalError, Purpose,
    connections::Connections,
    error::explain,
    reserve::{Level, Reserve, fold_log},
};

/// Writes that share one transaction. Bounds how long the first of them waits.
const BATCH_LENGTH_MAX: usize = 512;
/// The same while the disk is full: what they write must fit into the log as it is.
const BATCH_LENGTH_MAX_ON_RESERVE: usize = 32;

/// One write: carried out inside a transaction, answered once that is on the disk.
pub(super) trait Job: Send {
    /// What it is for.
    fn purpose(&self) -> Purpose;

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
    purpose: Purpose,
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
    pub(super) fn new(purpose: Purpose, work: F, tell: D) -> Self {
        Self {
            purpose,
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
    fn purpose(&self) -> Purpose {
        self.purpose
    }

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
    mut connections: Connections,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    metrics: &JournalMetrics,
    mut reserve: Option<Reserve>,
) {
    look(&mut reserve, &connections.writer);
    let mut batch = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        if let Err(error) = connections.share() {
            return tracing::error!(%error, "the journal can't be opened again");
        }
        let level = look(&mut reserve, &connections.writer);
        gather(&mut batch, job, &mut jobs, level);
        let (began, writes) = (Instant::now(), batch.len());
        let done = commit(&mut connections.writer, &mut batch, |job, outcome| {
            job.answer(outcome)
        });
        metrics.committed(writes, began.elapsed(), done);
        if level == Level::Short {
            // The log must not grow: the next transaction begins at its start again.
            say_if_failed(fold_log(&connections.writer));
        }
    }
    // The log stays when the connection is closed, because a start on a full disk could make no other.
    say_if_failed(fold_log(&connections.writer));
}

/// Fills a batch with `first` and what waits behind it. What may wait until there is room is refused
/// while there is none.
fn gather(
    batch: &mut Vec<Box<dyn Job>>,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    level: Level,
) {
    let length_max = match level {
        Level::Whole => BATCH_LENGTH_MAX,
        Level::Short => BATCH_LENGTH_MAX_ON_RESERVE,
    };
    batch.push(first);
    while batch.len() < length_max {
        match jobs.try_recv() {
            Ok(job) => batch.push(job),
            Err(_) => break,
        }
    }
    if level == Level::Short {
        let ordinary = batch.extract_if(.., |job| job.purpose() == Purpose::Ordinary);
        for job in ordinary {
            job.answer(Err(JournalError::Full));
        }
    }
}

fn look(reserve: &mut Option<Reserve>, connection: &Connection) -> Level {
    let reserve = reserve.as_mut();
    reserve.map_or(Level::Whole, |reserve| reserve.keep(connection))
}

fn say_if_failed(folded: Result<(), JournalError>) {
    if let Err(error) = folded {
        tracing::warn!(%error, "the journal's log was not folded");
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
