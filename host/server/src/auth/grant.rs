//! What a request was let in by, for as long as what it opened is open.

use hersh_base::{
    right::{CHECK_INTERVAL, Right},
    surroundings::Surroundings,
};
use hersh_machine::driver::Clock;

use super::{Accounts, Caller};

/// What a request was let in by. To make one costs nothing but counts.
#[derive(Clone)]
pub(crate) struct Grant {
    accounts: Accounts,
    surroundings: Surroundings,
    caller: Caller,
}

impl Grant {
    pub(crate) fn new(accounts: Accounts, surroundings: Surroundings, caller: Caller) -> Self {
        Self {
            accounts,
            surroundings,
            caller,
        }
    }

    /// Whether the caller would be let in now as it was then.
    pub(crate) fn holds(&self) -> bool {
        let now_ms = self.surroundings.now_ms();
        self.accounts.still_admits(&self.caller, now_ms)
    }

    /// What the journal is to go by in whatever it changes for the caller.
    pub(crate) fn right(&self) -> Right {
        let (token, role) = (self.caller.token.clone(), self.caller.role.name());
        let (accounts, surroundings) = (self.accounts.clone(), self.surroundings.clone());
        let now_ms = move || accounts.time_ms(surroundings.now_ms());
        Right::new(token.into(), role, now_ms)
    }

    /// Waits until the caller's token is valid no longer, or its user has another role: what was
    /// opened by it ends then, at most [`CHECK_INTERVAL`] later.
    pub(crate) async fn over(self) {
        let mut looks = tokio::time::interval(CHECK_INTERVAL);
        loop {
            looks.tick().await;
            if !self.holds() {
                return;
            }
        }
    }
}
