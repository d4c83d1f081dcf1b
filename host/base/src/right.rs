//! By what right a change is made, asked again in the transaction that makes it: a token may have
//! ended, or its user's role, while what it opened went on.
//!
//! ```text
//! let in by a token ─► Right::carry(request) ─┬─► Journal::write ──────────► check ─► the change
//!                                             └─► whole, an event ─► record ─► check ─► the change
//! ```
//! A task carries its right, so that no route has to think of it; whoever works for the host itself
//! has none and needs none.

use std::{fmt, sync::Arc, time::Duration};

/// How often it is asked whether the right still holds by which a stream or a tunnel is open.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

tokio::task_local! {
    static CARRIED: Right;
}

/// The right that a token gives. A token's id is never used twice, so it names its user's making, too:
/// a user who was removed and made again has none of the tokens of before.
#[derive(Clone)]
pub struct Right {
    token: Arc<str>,
    /// The role that its user had.
    role: &'static str,
    /// The time by which tokens end, milliseconds since the Unix epoch.
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Right {
    /// The right of `token`, whose user has `role`, by the clock `now_ms`.
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

    /// The right that the running task carries.
    pub fn carried() -> Option<Self> {
        CARRIED.try_with(Self::clone).ok()
    }

    /// Lets `work` be done by this right.
    pub fn carry<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        CARRIED.scope(self, work)
    }

    /// Lets `work` be done by the right of the task that asks for it, on whatever task it is.
    pub fn handed_on<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let right = Self::carried();
        async move {
            match right {
                Some(right) => right.carry(work).await,
                None => work.await,
            }
        }
    }

    /// The time by which it is to be asked whether this holds, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// The id of the token that gives it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The role that the token's user had.
    pub fn role(&self) -> &'static str {
        self.role
    }
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Right({}, {})", self.token, self.role)
    }
}
