//! A message that is kept, and the run that it had.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptMessage {
    pub(crate) content: Arc<str>,
    /// When the message came in, milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// The key that its sender gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
    /// How many times its run began and took the process with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) fatal: u32,
}

/// The run that a message had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessageRun {
    /// The number of the run in its session.
    pub(crate) run: u64,
    /// What the run replied, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply: Option<Arc<str>>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
