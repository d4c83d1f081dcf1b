//! The right that let a request in, kept for as long as anything that the request opened is open.

use hersh_base::{
    right::{CHECK_INTERVAL, Right},
    surroundings::Surroundings,
};
use hersh_machine::driver::Clock;

use super::{Accounts, Caller};

/// The right that let a request in. Making one costs nothing but reference counts.
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

    /// Returns true if the caller would be let in now as it was then.
    pub(crate) fn holds(&self) -> bool {
        let now_ms = self.surroundings.now_ms();
        self.accounts.still_admits(&self.caller, now_ms)
    }

    /// Returns the right that the journal goes by in whatever it changes for the caller.
    pub(crate) fn right(&self) -> Right {
        let (token, role) = (self.caller.token.clone(), self.caller.role.name());
        let (accounts, surroundings) = (self.accounts.clone(), self.surroundings.clone());
        let now_ms = move || accounts.time_ms(surroundings.now_ms());
        Right::new(token.into(), role, now_ms)
    }

    /// Waits until the caller's token is no longer valid, or its user has another role. Everything that was
    /// opened by the token ends then, at most [`CHECK_INTERVAL`] later.
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
