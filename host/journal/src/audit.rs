//! The rows of the audit log: one for each change, written before the change is made. Anybody can repeat
//! a request that changes nothing as often as they like. Such repeats are counted in one row, because
//! rows of their own would push out the rows of changes.

use rusqlite::{OptionalExtension, Transaction};

use super::{Journal, JournalError, WritePurpose};

/// How long repeats are counted in one row, milliseconds.
const REPEATS_MS: u64 = 24 * 60 * 60 * 1_000;

/// One change, or the repeats of one request that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The row's number: later rows have higher numbers.
    pub seq: u64,
    /// When the request was made, milliseconds since the Unix epoch; of repeats, when the last one was.
    pub at_ms: u64,
    /// The user who asked.
    pub user: String,
    /// The id of the token that the request was made with.
    pub token: String,
    /// The address that the request came from.
    pub peer: String,
    /// Method and route, such as `POST /programs/{id}/start`.
    pub action: String,
    /// The path of the request, as it came.
    pub target: String,
    /// The object that the request is about, such as `program counter`; empty if that is not known.
    pub object: String,
    /// The change that was asked for, from what to what; empty if none, or if an older host wrote the row.
    pub change: String,
    /// How often the request was made: more than once only where nothing was changed.
    pub count: u64,
    /// When the request was first made, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// The HTTP status of the answer, or 499 if the client went away before it; `None` while
    /// the change is made, if the host ended meanwhile, or if the status could not be written.
    pub status: Option<u16>,
}

/// A change that is about to be made.
#[derive(Clone, Debug)]
pub struct AuditAttempt {
    /// When the request was made, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The user who asks.
    pub user: String,
    /// The id of the token that the request is made with.
    pub token: String,
    /// The address that the request comes from.
    pub peer: String,
    /// Method and route, such as `POST /programs/{id}/start`.
    pub action: String,
    /// The path of the request, as it came.
    pub target: String,
    /// The object that the request is about, as far as the path says.
    pub object: String,
}

/// How a change ended.
#[derive(Clone, Debug)]
pub struct AuditOutcome {
    /// The number of the row that [`Journal::begin_audit`] wrote.
    pub seq: i64,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Whether anything has changed. If not, the request is counted with earlier repeats of it.
    pub is_change: bool,
    /// The change, from what to what.
    pub change: String,
    /// The object that the request is about, where the path did not say.
    pub object: Option<String>,
}

impl Journal {
    /// Writes the row of a change that is about to be made, and returns the row's number. `purpose` says
    /// whether the row may use the journal's reserve.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub async fn begin_audit(
        &self,
        purpose: WritePurpose,
        attempt: AuditAttempt,
    ) -> Result<i64, JournalError> {
        self.write_for(purpose, move |transaction| {
            let AuditAttempt {
                at_ms,
                user,
                token,
                peer,
                action,
                target,
                object,
            } = attempt;
            let row = transaction
                .prepare_cached(
                    "INSERT INTO audit (at_ms, user, token, peer, action, target, object)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .insert((at_ms, user, token, peer, action, target, object))?;
            Ok(row)
        })
        .await
    }

    /// Hands the outcome of a change to the writer, without waiting until it is written.
    ///
    /// # Errors
    /// [`JournalError::Closed`].
    pub async fn end_audit(&self, outcome: AuditOutcome) -> Result<(), JournalError> {
        self.enqueue(move |transaction| Ok(write(transaction, outcome)?))
            .await
    }

    /// Returns at most `limit` rows with numbers below `before`, newest first. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub fn audit_page(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditRow>, JournalError> {
        let before = before
            .and_then(|seq| i64::try_from(seq).ok())
            .unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|reader| {
            let mut statement = reader.prepare_cached(
                "SELECT seq, at_ms, user, token, peer, action, target, object, change, count,
                 COALESCE(first_ms, at_ms), status FROM audit
                 WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let rows = statement.query_map((before, limit), |row| {
                Ok(AuditRow {
                    seq: row.get(0)?,
                    at_ms: row.get(1)?,
                    user: row.get(2)?,
                    token: row.get(3)?,
                    peer: row.get(4)?,
                    action: row.get(5)?,
                    target: row.get(6)?,
                    object: row.get(7)?,
                    change: row.get(8)?,
                    count: row.get(9)?,
                    first_ms: row.get(10)?,
                    status: row.get(11)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn write(transaction: &Transaction<'_>, outcome: AuditOutcome) -> rusqlite::Result<()> {
    let AuditOutcome {
        seq,
        status,
        is_change,
        change,
        object,
    } = outcome;
    transaction
        .prepare_cached(
            "UPDATE audit SET status = ?2, is_change = ?3, change = ?4,
             object = COALESCE(?5, object) WHERE seq = ?1",
        )?
        .execute((seq, status, is_change, change, object))?;
    if !is_change {
        count(transaction, seq)?;
    }
    Ok(())
}

/// Merges an earlier row of the same request into row `seq`, if one was first made within [`REPEATS_MS`].
fn count(transaction: &Transaction<'_>, seq: i64) -> rusqlite::Result<()> {
    let earlier: Option<(i64, u64, u64)> = transaction
        .prepare_cached(
            "SELECT earlier.seq, earlier.count, COALESCE(earlier.first_ms, earlier.at_ms) AS first
             FROM audit AS own JOIN audit AS earlier
             ON earlier.is_change = 0 AND earlier.user = own.user AND earlier.token = own.token
             AND earlier.action = own.action AND earlier.target = own.target
             AND earlier.status = own.status AND earlier.seq < own.seq
             WHERE own.seq = ?1 AND first > own.at_ms - ?2
             ORDER BY earlier.seq DESC LIMIT 1",
        )?
        .query_row((seq, REPEATS_MS), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    if let Some((earlier, count, first_ms)) = earlier {
        transaction
            .prepare_cached("DELETE FROM audit WHERE seq = ?1")?
            .execute([earlier])?;
        transaction
            .prepare_cached("UPDATE audit SET count = ?2, first_ms = ?3 WHERE seq = ?1")?
            .execute((seq, count + 1, first_ms))?;
    }
    Ok(())
}
