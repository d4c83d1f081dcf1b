//! The audit log: who changed what, and from where. Each change has one row, written before the change is
//! made.
//!
//! ```text
//! request ─► attempt, on the disk ─► the change ─► outcome (queued, nobody waits)
//!                                        │            ├── refused, or nothing changed ─► counted
//!                                        │            └── changed ─► listed, with what it changed
//!                                        └── the client hung up ─► 499
//! ```
//! A change whose row can't be written is not made. Requests that changed nothing can be repeated by anybody
//! as often as they like, so they are only counted: listed, they would push out the rows of real changes.

use std::sync::{Arc, Mutex};

use hersh_base::locked::locked;
use hersh_journal::{AuditAttempt, AuditOutcome, Journal, JournalError, WritePurpose};

use super::Caller;

/// The most characters that are kept of the description of a change.
const CHANGE_LENGTH_MAX: usize = 500;

/// A change that is about to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) at_ms: u64,
    pub(crate) peer: String,
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) object: String,
}

/// The details that a handler gives of its change. Clones belong to the same change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Particulars(Arc<Mutex<ChangeDetails>>);

#[derive(Clone, Debug, Default)]
struct ChangeDetails {
    object: Option<String>,
    change: String,
    changes_nothing: bool,
}

impl Particulars {
    /// Names the object of the change, where the path does not.
    pub(crate) fn object(&self, object: String) {
        self.with(|told| told.object = Some(object));
    }

    /// Says what the change is, from what to what.
    pub(crate) fn change(&self, change: &str) {
        let plain = hersh_wire::shown(change);
        let plain = plain.chars().take(CHANGE_LENGTH_MAX).collect();
        self.with(|told| told.change = plain);
    }

    /// Says that the request changes nothing that the host keeps, whatever the answer.
    pub(crate) fn changes_nothing(&self) {
        self.with(|told| told.changes_nothing = true);
    }

    fn with<T>(&self, work: impl FnOnce(&mut ChangeDetails) -> T) -> T {
        work(&mut locked(&self.0))
    }
}

/// The status of a change whose client hung up before the answer. What was begun by then may have been done.
pub(crate) const HUNG_UP: u16 = 499;

/// A change that has begun. Dropped without an outcome, it ends as [`HUNG_UP`].
pub(crate) struct Attempt {
    journal: Journal,
    seq: i64,
    particulars: Particulars,
    status: Option<u16>,
    is_noted: bool,
}

/// Writes that `caller` is about to make a change. The row may use the space that the journal has for
/// `purpose`.
///
/// # Errors
/// When the journal can't be read or written: the change must not be made then.
pub(crate) async fn attempt(
    (journal, purpose): (&Journal, WritePurpose),
    caller: &Caller,
    plan: Plan,
) -> Result<Attempt, JournalError> {
    let row = AuditAttempt {
        at_ms: plan.at_ms,
        user: caller.user.to_string(),
        token: caller.token.to_string(),
        peer: plan.peer,
        action: plan.action,
        target: plan.target,
        object: plan.object,
    };
    let journal = journal.clone();
    // Runs in a task of its own: if the client hangs up now, the row still gets its outcome.
    let noted = tokio::spawn(async move {
        let seq = journal.begin_audit(purpose, row).await?;
        Ok(Attempt {
            journal,
            seq,
            particulars: Particulars::default(),
            status: None,
            is_noted: false,
        })
    });
    // The task does not panic, so it fails only if the tokio runtime ends.
    noted.await.unwrap_or(Err(JournalError::Closed))
}

impl Attempt {
    /// Returns the particulars, in which the handler tells what it changes.
    pub(crate) fn particulars(&self) -> Particulars {
        self.particulars.clone()
    }

    /// Writes how the attempt ended.
    pub(crate) async fn ended(mut self, status: u16) {
        self.status = Some(status);
        note(&self.journal, self.outcome(status)).await;
        self.is_noted = true;
    }

    fn outcome(&self, status: u16) -> AuditOutcome {
        let ChangeDetails {
            object,
            change,
            changes_nothing,
        } = self.particulars.with(|told| told.clone());
        AuditOutcome {
            seq: self.seq,
            status,
            is_change: status < 400 && !changes_nothing,
            change,
            object,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a tokio runtime the host has ended, and nobody knows how far the change came.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_noted {
            let journal = self.journal.clone();
            let outcome = self.outcome(self.status.unwrap_or(HUNG_UP));
            runtime.spawn(async move { note(&journal, outcome).await });
        }
    }
}

/// Writes the outcome of a change.
async fn note(journal: &Journal, outcome: AuditOutcome) {
    if let Err(error) = journal.end_audit(outcome).await {
        tracing::warn!(%error, "the outcome of a change is missing in the audit log");
    }
}
