//! Who changed what, and from where: one row a change, written before it is made.
//!
//! ```text
//! request ─► attempt, on the disk ─► the change ─► outcome (queued, nobody waits)
//!                                        │            ├── refused, or nothing changed ─► counted
//!                                        │            └── changed ─► listed, with what it changed
//!                                        └── the client hung up ─► 499
//! ```
//! A change whose row can't be written is not made. What changed nothing can be repeated by anybody as
//! often as they like, so it is counted: it must not push out what was changed.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{OptionalExtension, Transaction};

use super::Caller;
use crate::journal::{Journal, JournalError, Purpose};

/// Repeats are counted for this long in one row.
const REPEATS_MS: u64 = 24 * 60 * 60 * 1_000;
/// Characters that are kept of what was changed.
const CHANGE_LENGTH_MAX: usize = 500;

/// One change, or so many repeats of what changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// Higher for later ones.
    pub(crate) seq: u64,
    /// Milliseconds since the Unix epoch; of the last one where there are more.
    pub(crate) at_ms: u64,
    pub(crate) user: String,
    pub(crate) token: String,
    /// The address that it came from.
    pub(crate) peer: String,
    /// Method and route, such as `POST /programs/{id}/start`.
    pub(crate) action: String,
    /// The path as it was asked for.
    pub(crate) target: String,
    /// What it is about, such as `program counter`; empty if that is not known.
    pub(crate) object: String,
    /// What was to be changed, from what to what; empty if nothing, or if an older host wrote it.
    pub(crate) change: String,
    /// How often: more than once only where nothing was changed.
    pub(crate) count: u64,
    /// When it was first, milliseconds since the Unix epoch.
    pub(crate) first_ms: u64,
    /// The HTTP status of the answer, [`HUNG_UP`] if the client went away before it; `None` while
    /// the change is made, if the host ended in the middle, or if the disk did not take the status.
    pub(crate) status: Option<u16>,
}

/// A change that is about to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) at_ms: u64,
    pub(crate) peer: String,
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) object: String,
}

/// What a handler tells about the change that it makes; clones tell of the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Particulars(Arc<Mutex<ChangeDetails>>);

#[derive(Clone, Debug, Default)]
struct ChangeDetails {
    object: Option<String>,
    change: String,
    changes_nothing: bool,
}

impl Particulars {
    /// Names what it is about, where the path does not.
    pub(crate) fn object(&self, object: String) {
        self.with(|told| told.object = Some(object));
    }

    /// Says what it changes, from what to what.
    pub(crate) fn change(&self, change: &str) {
        let plain = hersh_wire::shown(change);
        let plain = plain.chars().take(CHANGE_LENGTH_MAX).collect();
        self.with(|told| told.change = plain);
    }

    /// Says that it changes nothing that the host keeps, whatever the answer.
    pub(crate) fn changes_nothing(&self) {
        self.with(|told| told.changes_nothing = true);
    }

    fn with<T>(&self, work: impl FnOnce(&mut ChangeDetails) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Stands for the status of a change whose client went away before the answer. What was begun by then
/// may have been done.
pub(crate) const HUNG_UP: u16 = 499;

/// A change that has begun. Dropped without an outcome, it ends as [`HUNG_UP`].
pub(crate) struct Attempt {
    journal: Journal,
    seq: i64,
    particulars: Particulars,
    status: Option<u16>,
    is_noted: bool,
}

/// Notes that `caller` is about to make a change, for whose row there is room as for its purpose.
///
/// # Errors
/// As the disk says: the change must not be made then.
pub(crate) async fn attempt(
    (journal, purpose): (&Journal, Purpose),
    caller: &Caller,
    plan: Plan,
) -> Result<Attempt, JournalError> {
    let (user, token) = (caller.user.to_string(), caller.token.to_string());
    let journal = journal.clone();
    // A task of its own: a client that goes away now leaves a row that still gets its outcome.
    let noted = tokio::spawn(async move {
        let seq = journal
            .write_for(purpose, move |transaction| {
                let Plan {
                    at_ms,
                    peer,
                    action,
                    target,
                    object,
                } = plan;
                let row = transaction
                    .prepare_cached(
                        "INSERT INTO audit (at_ms, user, token, peer, action, target, object)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .insert((at_ms, user, token, peer, action, target, object))?;
                Ok(row)
            })
            .await?;
        Ok(Attempt {
            journal,
            seq,
            particulars: Particulars::default(),
            status: None,
            is_noted: false,
        })
    });
    // Nothing in it panics; a runtime that ends takes the task away.
    noted.await.unwrap_or(Err(JournalError::Closed))
}

impl Attempt {
    /// Where the handler tells what it changes.
    pub(crate) fn particulars(&self) -> Particulars {
        self.particulars.clone()
    }

    /// Notes how it ended.
    pub(crate) async fn ended(mut self, status: u16) {
        self.status = Some(status);
        self.outcome(status).note(&self.journal).await;
        self.is_noted = true;
    }

    fn outcome(&self, status: u16) -> Outcome {
        let told = self.particulars.with(|told| told.clone());
        Outcome {
            seq: self.seq,
            status,
            told,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a runtime the host has ended, and nobody knows how far the change came.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_noted {
            let journal = self.journal.clone();
            let outcome = self.outcome(self.status.unwrap_or(HUNG_UP));
            runtime.spawn(async move { outcome.note(&journal).await });
        }
    }
}

/// How a change ended.
struct Outcome {
    seq: i64,
    status: u16,
    told: ChangeDetails,
}

impl Outcome {
    async fn note(self, journal: &Journal) {
        let noted = journal.enqueue(move |transaction| Ok(self.write(transaction)?));
        if let Err(error) = noted.await {
            tracing::warn!(%error, "the outcome of a change is missing in the audit log");
        }
    }

    fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let ChangeDetails {
            object,
            change,
            changes_nothing,
        } = self.told;
        let is_change = self.status < 400 && !changes_nothing;
        transaction
            .prepare_cached(
                "UPDATE audit SET status = ?2, is_change = ?3, change = ?4,
                 object = COALESCE(?5, object) WHERE seq = ?1",
            )?
            .execute((self.seq, self.status, is_change, change, object))?;
        if !is_change {
            count(transaction, self.seq)?;
        }
        Ok(())
    }
}

/// Takes an earlier row of the same into this one, if there is one of the last while.
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
