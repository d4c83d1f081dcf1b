//! Removes old rows of the journal, so that its size stays bounded however long a host runs.
//!
//! ```text
//! program: every 100 records ─► snapshot, so that a start folds few ─► the newest 900 stay to be read,
//!          of these the newest 4 MiB
//! audit: each user's newest 25,000 changes, the newest 500,000 of all; of what changed nothing
//!        2,500 and 50,000                                          idempotency: 24 hours
//! ```

use rusqlite::{Connection, params};

use super::{Journal, JournalError, ProgramRow, fold, to_json};

/// The most records of one program; older ones remain only in its snapshot.
pub(super) const RECORDS_MAX: u64 = 1_000;
/// The most bytes (as text) of one program's records; records newer than its snapshot always stay. All
/// programs share the journal's disk, and one record may hold a manifest of half a megabyte.
pub(super) const RECORDS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many records come between two snapshots of a program: the most that a start has to fold.
pub(super) const SNAPSHOT_EVERY: u64 = 100;
/// The most rows of the audit log about changes; the newest stay.
pub(super) const AUDIT_ROWS_MAX: u64 = 500_000;
/// The most of these rows for one user: a user who makes many changes pushes out only its own rows.
pub(super) const AUDIT_ROWS_PER_USER_MAX: u64 = 25_000;
/// The most rows of the audit log about requests that changed nothing; they count apart from changes.
pub(super) const AUDIT_REPEATS_MAX: u64 = 50_000;
/// The most of these rows for one user.
pub(super) const AUDIT_REPEATS_PER_USER_MAX: u64 = 2_500;
/// How long the answer to an idempotency key is repeated, milliseconds.
pub const IDEMPOTENCY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The most rows that one statement of `prune` removes. A transaction has few such statements, so no write
/// waits long behind it.
const ROWS_PER_DELETE_MAX: u64 = 5_000;

impl Journal {
    /// Stores the state of a program after its record `until` and removes the records that are too
    /// old. Both happen in one transaction on the writer's thread: a crash leaves both or neither. Succeeds
    /// if the program was removed.
    ///
    /// # Errors
    /// As [`Journal::load`]; nothing is changed then.
    pub async fn compact(&self, row: ProgramRow, until: u64) -> Result<(), JournalError> {
        self.write_freeing(move |transaction| compact(transaction, row, until))
            .await
    }

    /// Removes the audit rows that are too many and the idempotent answers that are too old at `now_ms`
    /// (milliseconds since the Unix epoch). Returns how many rows it removed.
    ///
    /// # Errors
    /// When the journal can't be read or written; what was removed before stays removed.
    pub async fn prune(&self, now_ms: u64) -> Result<u64, JournalError> {
        let oldest_ms = now_ms.saturating_sub(IDEMPOTENCY_MS);
        let mut removed = 0;
        loop {
            let pruned = self.write_freeing(move |transaction| prune(transaction, oldest_ms));
            let pruned = pruned.await?;
            removed += pruned;
            if pruned < ROWS_PER_DELETE_MAX {
                return Ok(removed);
            }
        }
    }
}

fn compact(connection: &Connection, row: ProgramRow, until: u64) -> Result<(), JournalError> {
    let Some(program) = fold::load_one(connection, row, until)? else {
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
    // Records newer than the snapshot stay: a start applies them to it.
    connection
        .prepare_cached(
            "DELETE FROM records WHERE program = ?1 AND seq <= ?2 AND seq <=
             (SELECT MAX(seq) FROM
              (SELECT seq, SUM(octet_length(event) + octet_length(effects))
               OVER (ORDER BY seq DESC) AS bytes FROM records WHERE program = ?1)
              WHERE bytes > ?3)",
        )?
        .execute((row.0, snapshot.seq, RECORDS_BYTES_MAX))?;
    Ok(())
}

fn prune(connection: &Connection, oldest_ms: u64) -> Result<u64, JournalError> {
    let answers = connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (user, key) IN
             (SELECT user, key FROM idempotency WHERE at_ms < ?1 LIMIT ?2)",
        )?
        .execute(params![oldest_ms, ROWS_PER_DELETE_MAX])?;
    let mut pruned = answers;
    for (is_change, of_one, of_all) in [
        (true, AUDIT_ROWS_PER_USER_MAX, AUDIT_ROWS_MAX),
        (false, AUDIT_REPEATS_PER_USER_MAX, AUDIT_REPEATS_MAX),
    ] {
        pruned += prune_audit(connection, is_change, of_one, of_all)?;
    }
    Ok(u64::try_from(pruned).unwrap_or(u64::MAX))
}

/// Removes the oldest audit rows of one kind: first those over `of_one` for each user, then those over
/// `of_all` in total. Rows are counted, because their numbers have gaps.
fn prune_audit(
    connection: &Connection,
    is_change: bool,
    of_one: u64,
    of_all: u64,
) -> rusqlite::Result<usize> {
    let by_user = connection
        .prepare_cached(
            "WITH RECURSIVE users (user) AS (
               SELECT MIN(user) FROM audit WHERE is_change = ?1
               UNION ALL
               SELECT (SELECT MIN(user) FROM audit WHERE is_change = ?1 AND user > users.user)
               FROM users WHERE users.user IS NOT NULL)
             DELETE FROM audit WHERE seq IN
             (SELECT audit.seq FROM users JOIN audit
              ON audit.is_change = ?1 AND audit.user = users.user
              AND audit.seq <= (SELECT seq FROM audit AS own
                                WHERE own.is_change = ?1 AND own.user = users.user
                                ORDER BY seq DESC LIMIT 1 OFFSET ?2)
              LIMIT ?3)",
        )?
        .execute(params![is_change, of_one, ROWS_PER_DELETE_MAX])?;
    let by_age = connection
        .prepare_cached(
            "DELETE FROM audit WHERE seq IN
             (SELECT seq FROM audit WHERE is_change = ?1
              AND seq <= (SELECT seq FROM audit WHERE is_change = ?1
                          ORDER BY seq DESC LIMIT 1 OFFSET ?2)
              ORDER BY seq LIMIT ?3)",
        )?
        .execute(params![is_change, of_all, ROWS_PER_DELETE_MAX])?;
    Ok(by_user + by_age)
}
