//! By what right a change is made, asked again in the transaction that makes it: a token may have
//! ended, or its user's role, while what it opened went on.
//!
//! ```text
//! let in by a token ─► Right::carry(request) ─┬─► Journal::write ──────────► check ─► the change
//!                                             └─► whole, an event ─► record ─► check ─► the change
//! ```
//! A task carries its right, so that no route has to think of it; whoever works for the host itself
//! has none and needs none.

use std::{fmt, sync::Arc};

use rusqlite::Transaction;

use super::JournalError;

tokio::task_local! {
    static CARRIED: Right;
}

/// The right that a token gives. A token's id is never used twice, so it names its user's making, too:
/// a user who was removed and made again has none of the tokens of before.
#[derive(Clone)]
pub(crate) struct Right {
    token: Arc<str>,
    /// The role that its user had.
    role: &'static str,
    /// The time by which tokens end, milliseconds since the Unix epoch.
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Right {
    pub(crate) fn new(
        token: Arc<str>,
        role: &'static str,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let now_ms = Arc::new(now_ms);
        Self {
            token,
            role,
            now_ms,
        }
    }

    /// The right that the running task carries.
    pub(crate) fn carried() -> Option<Self> {
        CARRIED.try_with(Self::clone).ok()
    }

    /// Lets `work` be done by this right.
    pub(crate) async fn carry<T>(self, work: impl Future<Output = T>) -> T {
        CARRIED.scope(self, work).await
    }

    /// Lets `work` be done by the right of the task that asks for it, on whatever task it is.
    pub(crate) fn handed_on<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let right = Self::carried();
        async move {
            match right {
                Some(right) => right.carry(work).await,
                None => work.await,
            }
        }
    }

    /// The time by which it is to be asked whether this holds.
    pub(super) fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// Whether it holds in the midst of `transaction`.
    ///
    /// # Errors
    /// [`JournalError::Revoked`].
    pub(super) fn check(
        &self,
        transaction: &Transaction<'_>,
        now_ms: u64,
    ) -> Result<(), JournalError> {
        let holds: bool = transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM tokens JOIN users ON users.id = tokens.user
                 WHERE tokens.id = ?1 AND users.role = ?2
                 AND (expires_at_ms IS NULL OR expires_at_ms > ?3))",
            )?
            .query_row((&self.token, self.role, now_ms), |row| row.get(0))?;
        if holds {
            Ok(())
        } else {
            Err(JournalError::Revoked)
        }
    }
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Right({}, {})", self.token, self.role)
    }
}
