//! What the journal forgets, so that it stays bounded however long a host lives.
//!
//! ```text
//! program: every 100 records ─► snapshot, so that a start folds few ─► the newest 900 stay to be read
//! audit: each user's newest 25,000, the newest 500,000 of all     idempotency: 24 hours
//! ```

use rusqlite::{Connection, params};

use super::{Journal, JournalError, ProgramRow, fold, to_json};

/// No program has more records than this; older ones are in its snapshot only.
pub const RECORDS_MAX: u64 = 1_000;
/// A program's state is stored anew after this many records: the most that a start has to fold.
pub const SNAPSHOT_EVERY: u64 = 100;
/// The newest entries of the audit log stay.
pub const AUDIT_ROWS_MAX: u64 = 500_000;
/// Of these, the newest of one user: whoever makes many pushes out none but its own.
pub const AUDIT_ROWS_PER_USER_MAX: u64 = 25_000;
/// An answer is repeated to the same idempotency key for this long.
pub const IDEMPOTENCY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Rows that one transaction removes, so that no write waits long behind it.
const PRUNED_ROWS_MAX: u64 = 5_000;

impl Journal {
    /// Stores the state of a program after its record `until` and removes the records that are too
    /// old, in one transaction on the writer's thread: a crash leaves all of it or nothing. A
    /// program that is gone is a success.
    ///
    /// # Errors
    /// As [`Journal::load`]; nothing is changed then.
    pub async fn compact(&self, row: ProgramRow, until: u64) -> Result<(), JournalError> {
        self.write(move |transaction| compact(transaction, row, until))
            .await
    }

    /// Removes audit entries and idempotent answers that are too many or too old at `now_ms`
    /// (milliseconds since the Unix epoch); how many.
    ///
    /// # Errors
    /// As the disk says; what was removed before stays removed.
    pub async fn prune(&self, now_ms: u64) -> Result<u64, JournalError> {
        let oldest_ms = now_ms.saturating_sub(IDEMPOTENCY_MS);
        let mut removed = 0;
        loop {
            let pruned = self.write(move |transaction| prune(transaction, oldest_ms));
            let pruned = pruned.await?;
            removed += pruned;
            if pruned < PRUNED_ROWS_MAX {
                return Ok(removed);
            }
        }
    }
}

fn compact(connection: &Connection, row: ProgramRow, until: u64) -> Result<(), JournalError> {
    let Some(program) = fold::one(connection, row, until)? else {
        return Ok(());
    };
    let snapshot = program.stepper.snapshot();
    connection
        .prepare_cached(
            "INSERT INTO snapshots (program, seq, snapshot) VALUES (?1, ?2, ?3)
             ON CONFLICT (program) DO UPDATE
             SET seq = excluded.seq, snapshot = excluded.snapshot",
        )?
        .execute((row.0, snapshot.seq, to_json(&snapshot)?))?;
    connection
        .prepare_cached("DELETE FROM records WHERE program = ?1 AND seq <= ?2")?
        .execute((
            row.0,
            snapshot.seq.saturating_sub(RECORDS_MAX - SNAPSHOT_EVERY),
        ))?;
    Ok(())
}

fn prune(connection: &Connection, oldest_ms: u64) -> Result<u64, JournalError> {
    let answers = connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (user, key) IN
             (SELECT user, key FROM idempotency WHERE at_ms < ?1 LIMIT ?2)",
        )?
        .execute(params![oldest_ms, PRUNED_ROWS_MAX])?;
    let of_one = connection
        .prepare_cached(
            "WITH RECURSIVE users (user) AS (
               SELECT MIN(user) FROM audit
               UNION ALL
               SELECT (SELECT MIN(user) FROM audit WHERE user > users.user)
               FROM users WHERE users.user IS NOT NULL)
             DELETE FROM audit WHERE seq IN
             (SELECT audit.seq FROM users JOIN audit ON audit.user = users.user
              AND audit.seq <= (SELECT seq FROM audit AS own WHERE own.user = users.user
                                ORDER BY seq DESC LIMIT 1 OFFSET ?1)
              LIMIT ?2)",
        )?
        .execute(params![AUDIT_ROWS_PER_USER_MAX, PRUNED_ROWS_MAX])?;
    let of_all = connection
        .prepare_cached(
            "DELETE FROM audit WHERE seq IN
             (SELECT seq FROM audit WHERE seq <= (SELECT MAX(seq) FROM audit) - ?1
              ORDER BY seq LIMIT ?2)",
        )?
        .execute(params![AUDIT_ROWS_MAX, PRUNED_ROWS_MAX])?;
    Ok(u64::try_from(answers + of_one + of_all).unwrap_or(u64::MAX))
}
