//! The peer's journal: one thread that puts the rows that wait into one transaction.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, Transaction, config::DbConfig};
use tokio::sync::{mpsc, oneshot};

/// Set up as a host's journal is.
const LOG_BYTES_MAX: u32 = 64 * 1024 * 1024;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const QUEUE_LENGTH_MAX: usize = 1_024;
const BATCH_LENGTH_MAX: usize = 512;

const SCHEMA: &str = "
CREATE TABLE programs (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id  TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE events (
    program INTEGER NOT NULL REFERENCES programs (row),
    seq     INTEGER NOT NULL,
    event   TEXT NOT NULL,
    state   TEXT NOT NULL,
    PRIMARY KEY (program, seq)
) STRICT, WITHOUT ROWID;";

/// The handle of the journal; clones share one writer.
#[derive(Clone)]
pub(crate) struct Rows {
    queue: mpsc::Sender<Write>,
}

/// An event of a program, and the state after it.
pub(super) struct Row {
    pub(super) program: i64,
    pub(super) seq: i64,
    pub(super) event: String,
    pub(super) state: String,
}

enum Write {
    Create(String, oneshot::Sender<i64>),
    Append(Row, oneshot::Sender<i64>),
}

impl Rows {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let connection = connect(&folder.join("by-hand.db"))?;
        let (queue, writes) = mpsc::channel(QUEUE_LENGTH_MAX);
        thread::Builder::new()
            .name("by-hand".into())
            .spawn(move || {
                if let Err(error) = write(connection, writes) {
                    eprintln!("the journal by hand has failed: {error}");
                }
            })?;
        Ok(Self { queue })
    }

    /// Stores a program; returns the number of its row.
    pub(super) async fn create(&self, id: String) -> Result<i64> {
        self.write(|done| Write::Create(id, done)).await
    }

    /// Appends a row, which is on the disk when this returns.
    pub(super) async fn append(&self, row: Row) -> Result<()> {
        self.write(|done| Write::Append(row, done)).await?;
        Ok(())
    }

    async fn write(&self, write: impl FnOnce(oneshot::Sender<i64>) -> Write) -> Result<i64> {
        let (done, is_done) = oneshot::channel();
        self.queue.send(write(done)).await?;
        is_done.await.context("the journal by hand has ended")
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Writes until nobody can send.
fn write(mut connection: Connection, mut writes: mpsc::Receiver<Write>) -> rusqlite::Result<()> {
    let mut batch = Vec::new();
    while let Some(first) = writes.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH_LENGTH_MAX
            && let Ok(next) = writes.try_recv()
        {
            batch.push(next);
        }
        let transaction = connection.transaction()?;
        let mut answers = Vec::with_capacity(batch.len());
        for write in batch.drain(..) {
            answers.push(insert(&transaction, write)?);
        }
        transaction.commit()?;
        for (done, row) in answers {
            // Whoever does not wait any more needs no answer.
            let _ = done.send(row);
        }
    }
    Ok(())
}

fn insert(
    transaction: &Transaction<'_>,
    write: Write,
) -> rusqlite::Result<(oneshot::Sender<i64>, i64)> {
    match write {
        Write::Create(id, done) => {
            let row = transaction
                .prepare_cached("INSERT INTO programs (id) VALUES (?1)")?
                .insert([id])?;
            Ok((done, row))
        }
        Write::Append(row, done) => {
            transaction
                .prepare_cached(
                    "INSERT INTO events (program, seq, event, state) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((row.program, row.seq, row.event, row.state))?;
            Ok((done, row.program))
        }
    }
}
