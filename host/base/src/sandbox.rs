//! What a sandbox and the host agree on, so that each knows the other's files.

/// User and group id of every program, and the owner of its `/state`.
pub const SANDBOX_ID: u32 = 65_532;
/// The file in `/state` on which a program without a network listens.
pub const SOCKET_NAME: &str = "watcher.sock";
