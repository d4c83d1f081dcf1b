//! The right by which a change is made. The right is checked again in the transaction that makes the
//! change: the token may have ended, or its user may have lost the role, while a request, a stream or a
//! tunnel that the token opened went on.
//!
//! ```text
//! let in by a token ─► Right::carry(request) ─┬─► Journal::write ──────────► check ─► the change
//!                                             └─► whole, an event ─► record ─► check ─► the change
//! ```
//! A task carries its right, so that no route has to think of it. A task that works for the host itself
//! has no right and needs none.

use std::{fmt, sync::Arc, time::Duration};

/// How often the host checks whether the right by which a stream or a tunnel is open still holds.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

tokio::task_local! {
    static CARRIED: Right;
}

/// The right that a token gives. A token's id is never used twice. So a token also tells a user from a
/// later one of the same name: a user who was removed and made again has none of the earlier tokens.
#[derive(Clone)]
pub struct Right {
    token: Arc<str>,
    /// The role that the token's user had when the right was given.
    role: &'static str,
    /// The clock that decides whether the token has ended, milliseconds since the Unix epoch.
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Right {
    /// Returns the right of `token`, whose user has `role`, by the clock `now_ms`.
    pub fn new(
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

    /// Returns the right that the running task carries; `None` if it carries none.
    pub fn carried() -> Option<Self> {
        CARRIED.try_with(Self::clone).ok()
    }

    /// Does `work` by this right: the work finds it with [`Self::carried`].
    pub fn carry<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        CARRIED.scope(self, work)
    }

    /// Does `work` by the right of the task that calls this, on whatever task the returned future runs.
    pub fn handed_on<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let right = Self::carried();
        async move {
            match right {
                Some(right) => right.carry(work).await,
                None => work.await,
            }
        }
    }

    /// Returns the time now, by which a check of this right decides whether the token has ended, milliseconds
    /// since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// Returns the id of the token that gives this right.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the role that the token's user had when the right was given.
    pub fn role(&self) -> &'static str {
        self.role
    }
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Right({}, {})", self.token, self.role)
    }
}
