//! What a sandbox and the host agree on, so that each knows the other's files.

use serde::{Deserialize, Serialize};

/// User and group id of every program, and the owner of its `/state`.
pub const SANDBOX_ID: u32 = 65_532;
/// The file in `/state` on which a program without a network listens.
pub const SOCKET_NAME: &str = "watcher.sock";

/// What bounds a program's `/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateBound {
    /// The machine bounds it: no more can be written than fits.
    Confined {
        /// The means by which the machine bounds it.
        found: String,
    },
    /// The host bounds it: the host looks at `/state` from time to time and ends a program past its limit.
    Watched {
        /// What `/state` lies on.
        found: String,
    },
}

/// How much a program keeps in its `/state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateUsage {
    /// The size in bytes. Counting stops above the limit that was asked for, so the real size may be larger.
    Bytes(u64),
    /// No certain result: in each pass something moved before it was counted, or only one pass found too
    /// much.
    Unsettled,
}
