//! Bounds of what waits for a watcher.

/// Messages that may wait, unless configured otherwise.
pub const MESSAGE_CAPACITY: usize = 50_000;
/// Longest message, bytes.
pub const MESSAGE_LIMIT_BYTES: usize = 64 * 1024;
/// Most bytes of all waiting messages together.
pub const MESSAGE_TOTAL_LIMIT_BYTES: usize = 64 * 1024 * 1024;
