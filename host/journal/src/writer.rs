//! The thread that carries out all writes to the journal.

use std::time::Instant;

use rusqlite::{Connection, Transaction};
use tokio::sync::mpsc;

use super::metrics::JournalMetrics;
use super::{
    JournalError, WritePurpose,
    connections::Connections,
    error::explain,
    reserve::{Reserve, ReserveLevel, fold_log},
};

/// The most writes that share one transaction. Bounds how long the first of them waits.
const BATCH_LENGTH_MAX: usize = 512;
/// The most while the disk is full: all that they write must fit into the log, which can't grow then.
const BATCH_LENGTH_MAX_ON_RESERVE: usize = 32;

/// One write: carried out inside a transaction, answered once the transaction is on the disk.
pub(super) trait Job: Send {
    /// Returns the purpose of the write.
    fn purpose(&self) -> WritePurpose;

    /// Carries the write out and keeps its outcome.
    ///
    /// # Errors
    /// The error that the caller is told, too.
    fn execute(&mut self, transaction: &Transaction<'_>) -> Result<(), JournalError>;

    /// Tells the caller the kept outcome, or the error of the commit if that failed.
    fn answer(self: Box<Self>, committed: Result<(), JournalError>);
}

/// A write: a function over the transaction, and a function that tells the caller its outcome.
pub(super) struct Write<T, F, D> {
    purpose: WritePurpose,
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
    pub(super) fn new(purpose: WritePurpose, work: F, tell: D) -> Self {
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
    fn purpose(&self) -> WritePurpose {
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

/// Carries `work` out inside a savepoint: if it fails, none of its statements stays in the transaction.
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

/// Runs the writer thread: carries out writes in batches until every handle of the journal is dropped.
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
        if level == ReserveLevel::Short {
            // The log can't grow on a full disk. Once it is folded, the next transaction overwrites it from
            // its start.
            say_if_failed(fold_log(&connections.writer));
        }
    }
    // The log is folded but stays when the connection is closed: a start on a full disk could not make a
    // new one.
    say_if_failed(fold_log(&connections.writer));
}

/// Fills a batch with `first` and the writes that wait behind it. While the disk has no space, refuses the
/// writes that can wait.
fn gather(
    batch: &mut Vec<Box<dyn Job>>,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    level: ReserveLevel,
) {
    let length_max = match level {
        ReserveLevel::Whole => BATCH_LENGTH_MAX,
        ReserveLevel::Short => BATCH_LENGTH_MAX_ON_RESERVE,
    };
    batch.push(first);
    while batch.len() < length_max {
        match jobs.try_recv() {
            Ok(job) => batch.push(job),
            Err(_) => break,
        }
    }
    if level == ReserveLevel::Short {
        let ordinary = batch.extract_if(.., |job| job.purpose() == WritePurpose::Ordinary);
        for job in ordinary {
            job.answer(Err(JournalError::Full));
        }
    }
}

fn look(reserve: &mut Option<Reserve>, connection: &Connection) -> ReserveLevel {
    let reserve = reserve.as_mut();
    reserve.map_or(ReserveLevel::Whole, |reserve| reserve.keep(connection))
}

fn say_if_failed(folded: Result<(), JournalError>) {
    if let Err(error) = folded {
        tracing::warn!(%error, "the journal's log was not folded");
    }
}

/// Carries a batch out in one transaction, then gives each write its outcome: no caller hears of
/// success before the commit. A write with an error of its own fails alone; if the commit fails, all
/// writes of the batch fail. Returns true if the batch was written.
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
        // A full or failing disk can make SQLite roll back the whole transaction. The writes that follow
        // would then be committed one by one, and their callers would be told that they failed.
        if transaction.is_autocommit() {
            return done.and(Err(JournalError::Sqlite(
                "the transaction was taken back".to_owned(),
            )));
        }
    }
    Ok(transaction.commit()?)
}
