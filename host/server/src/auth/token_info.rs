//! The data of a token, and of a new one that is to be made.

use std::time::{Duration, UNIX_EPOCH};

use hersh_program::UserId;

use super::{Scope, TokenId};

/// A token as its owner sees it. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenInfo {
    pub(crate) id: TokenId,
    pub(crate) user: UserId,
    pub(crate) scope: Scope,
    pub(crate) label: String,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) last_used_at_ms: Option<u64>,
    /// The token that this one was made with.
    pub(crate) made_by: Option<TokenId>,
}

/// The choice of what becomes of the tokens that were made with a removed one, and with those in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescendantTokens {
    /// They end with it: a thief of the token may have made some that nobody sees in time.
    End,
    /// They stay.
    Keep,
}

/// A new token that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub(crate) user: UserId,
    pub(crate) scope: Scope,
    pub(crate) label: String,
    pub(crate) expires_at_ms: Option<u64>,
    /// The token that the new one is made with; none for the host itself.
    pub(crate) made_by: Option<TokenId>,
}

impl NewToken {
    /// Returns what the token may do and for how long, in words.
    pub(crate) fn words(&self) -> String {
        // The calendar ends with the year 9999.
        let end = self
            .expires_at_ms
            .filter(|end_ms| *end_ms < 253_402_300_800_000);
        let end = end.map(Duration::from_millis);
        let end = end.and_then(|since| UNIX_EPOCH.checked_add(since));
        let end = end.map_or_else(
            || "without end".to_owned(),
            |end| format!("until {}", humantime::format_rfc3339_seconds(end)),
        );
        format!("scope {}, {end}, label {:?}", self.scope.name(), self.label)
    }
}
