//! Who changed what, and from where: one row a change, written before it is made.
//!
//! ```text
//! request ─► attempt, on the disk ─► the change ─► outcome (queued, nobody waits)
//!                                        └── the client hung up ─► 499
//! ```
//! A change whose row can't be written is not made.

use super::Caller;
use crate::journal::{Journal, JournalError};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// Higher for later ones.
    pub(crate) seq: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    pub(crate) user: String,
    pub(crate) token: String,
    /// The address that it came from.
    pub(crate) peer: String,
    /// Method and route, such as `POST /programs/{id}/start`.
    pub(crate) action: String,
    /// The path as it was asked for.
    pub(crate) target: String,
    /// The HTTP status of the answer, [`HUNG_UP`] if the client went away before it; `None` while
    /// the change is made, if the host ended in the middle, or if the disk did not take the status.
    pub(crate) status: Option<u16>,
}

/// Stands for the status of a change whose client went away before the answer. What was begun by then
/// may have been done.
pub(crate) const HUNG_UP: u16 = 499;

/// A change that has begun. Dropped without an outcome, it ends as [`HUNG_UP`].
pub(crate) struct Attempt {
    journal: Journal,
    seq: i64,
    status: Option<u16>,
    is_noted: bool,
}

/// Notes that `caller` is about to make a change.
///
/// # Errors
/// As the disk says: the change must not be made then.
pub(crate) async fn attempt(
    journal: &Journal,
    caller: &Caller,
    at_ms: u64,
    peer: String,
    action: String,
    target: String,
) -> Result<Attempt, JournalError> {
    let (user, token) = (caller.user.to_string(), caller.token.to_string());
    let journal = journal.clone();
    // A task of its own: a client that goes away now leaves a row that still gets its outcome.
    let noted = tokio::spawn(async move {
        let seq = journal
            .write(move |transaction| {
                let row = transaction
                    .prepare_cached(
                        "INSERT INTO audit (at_ms, user, token, peer, action, target)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .insert((at_ms, user, token, peer, action, target))?;
                Ok(row)
            })
            .await?;
        Ok(Attempt {
            journal,
            seq,
            status: None,
            is_noted: false,
        })
    });
    // Nothing in it panics; a runtime that ends takes the task away.
    noted.await.unwrap_or(Err(JournalError::Closed))
}

impl Attempt {
    /// Notes how it ended.
    pub(crate) async fn ended(mut self, status: u16) {
        self.status = Some(status);
        note(&self.journal, self.seq, status).await;
        self.is_noted = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a runtime the host has ended, and nobody knows how far the change came.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_noted {
            let (journal, seq) = (self.journal.clone(), self.seq);
            let status = self.status.unwrap_or(HUNG_UP);
            runtime.spawn(async move { note(&journal, seq, status).await });
        }
    }
}

async fn note(journal: &Journal, seq: i64, status: u16) {
    let noted = journal.enqueue(move |transaction| {
        transaction
            .prepare_cached("UPDATE audit SET status = ?2 WHERE seq = ?1")?
            .execute((seq, status))?;
        Ok(())
    });
    if let Err(error) = noted.await {
        tracing::warn!(%error, "the outcome of a change is missing in the audit log");
    }
}

/// At most `limit` rows before `before`, newest first. Blocks on the disk.
///
/// # Errors
/// As the disk says.
pub(crate) fn page(
    journal: &Journal,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditRow>, JournalError> {
    let before = before
        .and_then(|seq| i64::try_from(seq).ok())
        .unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    journal.read(|reader| {
        let mut statement = reader.prepare_cached(
            "SELECT seq, at_ms, user, token, peer, action, target, status FROM audit
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
                status: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}
