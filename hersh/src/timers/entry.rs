//! One timer, as the context keeps it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::base::clock::rfc3339_serde;

/// What the keys of timers begin with. Keys that begin with `hersh:` are the library's own.
pub(crate) const KEY_PREFIX: &str = "hersh:timer:";

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) rule: Rule,
    /// When it is due next; for one that is over, when it was.
    #[serde(with = "rfc3339_serde")]
    pub(crate) due: SystemTime,
    /// True once a run took it in, for one that is due once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) over: bool,
}

/// When a timer is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// Once, at a time that was given.
    At,
    /// Once, some time after it was set.
    After,
    /// Whenever this crontab expression says.
    Every(String),
}

impl Rule {
    /// Returns the hook that sets such timers.
    pub(crate) fn hook(&self) -> &'static str {
        match self {
            Self::At => "at",
            Self::After => "after",
            Self::Every(_) => "every",
        }
    }
}
