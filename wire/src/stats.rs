//! Resource use of a program.

use serde::{Deserialize, Serialize};

/// A reading of a running program's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatsView {
    /// When it was read, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Processor time since the program was started, microseconds.
    pub cpu_us: u64,
    /// Memory of the sandbox, bytes.
    pub memory_bytes: u64,
    /// Its limit, bytes.
    pub memory_limit_bytes: u64,
    /// Processes and threads of the sandbox on the machine's own kernel.
    pub pids: u64,
    /// Received over the network since the start, bytes.
    pub received_bytes: u64,
    /// Sent over the network since the start, bytes.
    pub sent_bytes: u64,
    /// What `/state` held when it was last measured, bytes; absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    /// Its limit, bytes.
    pub state_limit_bytes: u64,
}
