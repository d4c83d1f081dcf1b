//! The one thread that writes.

use hersh_program::ProgramId;
use rusqlite::{Connection, ErrorCode, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::JournalError;

/// Writes that share one transaction. Bounds how long the first of them waits.
const BATCH_LENGTH_MAX: usize = 512;

/// One write and where its outcome goes: the row id it made or touched.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<i64, JournalError>>,
}

/// What can be written.
#[derive(Debug)]
pub(super) enum Write {
    Create {
        program: ProgramId,
        created_at_ms: u64,
        initial: String,
    },
    Append {
        row: i64,
        seq: u64,
        now_ms: u64,
        event: String,
        effects: String,
    },
    Remove {
        row: i64,
    },
    SetMeta {
        key: &'static str,
        value: String,
    },
}

/// Writes until every handle is dropped.
pub(super) fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        batch.push(job);
        while batch.len() < BATCH_LENGTH_MAX {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        commit(&mut connection, &mut batch);
    }
}

/// Carries a batch out in one transaction, then answers: nobody hears of success before the
/// commit. A statement that fails by itself fails alone; a commit that fails, fails them all.
fn commit(connection: &mut Connection, batch: &mut Vec<Job>) {
    let outcome = connection.transaction().and_then(|transaction| {
        let mut results = Vec::with_capacity(batch.len());
        for job in batch.iter() {
            let result = execute(&transaction, &job.write);
            let failed = result.is_err();
            results.push(result);
            // A full disk can make SQLite take the whole transaction back. What followed would be
            // written by itself, and those who asked would be told that it was not.
            if failed && transaction.is_autocommit() {
                let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                return Err(rusqlite::Error::SqliteFailure(full, None));
            }
        }
        transaction.commit().map(|()| results)
    });
    match outcome {
        Ok(results) => {
            for (job, result) in batch.drain(..).zip(results) {
                // The one who asked may have gone away; what was written stands.
                let _ = job.reply.send(result);
            }
        }
        Err(error) => {
            let error = explain(&error);
            tracing::error!(%error, writes = batch.len(), "journal batch was not written");
            for job in batch.drain(..) {
                let _ = job.reply.send(Err(error.clone()));
            }
        }
    }
}

fn execute(transaction: &Transaction<'_>, write: &Write) -> Result<i64, JournalError> {
    let outcome = match write {
        Write::Create {
            program,
            created_at_ms,
            initial,
        } => transaction
            .prepare_cached("INSERT INTO programs (id, created_at_ms, initial) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.insert((program.as_str(), created_at_ms, initial)))
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => JournalError::Exists(program.clone()),
                _ => explain(&error),
            })?,
        Write::Append {
            row,
            seq,
            now_ms,
            event,
            effects,
        } => transaction
            .prepare_cached(
                "INSERT INTO records (program, seq, now_ms, event, effects)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (program, seq) DO UPDATE
                 SET now_ms = excluded.now_ms, event = excluded.event, effects = excluded.effects",
            )
            .and_then(|mut statement| statement.execute((row, seq, now_ms, event, effects)))
            .map(|_| *row)
            .map_err(|error| explain(&error))?,
        Write::Remove { row } => transaction
            .execute("DELETE FROM programs WHERE row = ?1", [row])
            .map(|_| *row)
            .map_err(|error| explain(&error))?,
        Write::SetMeta { key, value } => transaction
            .execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
            .map(|_| 0)
            .map_err(|error| explain(&error))?,
    };
    Ok(outcome)
}

/// Says what SQLite said, with the full disk told from the rest.
pub(super) fn explain(error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full,
        _ => JournalError::Sqlite(error.to_string()),
    }
}
