//! The rules of the lifecycle, by the age of the host that wrote a journal.

use serde::{Deserialize, Serialize};

/// The rules by which events change a program.
///
/// A journal of an older host must give the state that it gave then: the host chose its effects by that
/// state. So a program keeps the rules that it was made with until a host of newer rules tells it of its start
/// with `HostStarted`; that event is in the journal too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// A program is tried again six times, whatever the cause, and then waits for a person.
    #[default]
    First,
    /// A program is tried again for as long as its policy and its manifest say so. What is no fault of the
    /// program uses up no attempt.
    Second,
}

impl Rules {
    /// The rules of this version.
    pub const CURRENT: Self = Self::Second;
}
