//! The exit codes of a watcher that is a whole program.

/// Exit code after a crash, or when the program did not stop within the grace period.
pub(super) const EXIT_CRASHED: u8 = 1;
/// Exit code when the watcher could not be started.
pub(super) const EXIT_NOT_STARTED: u8 = 2;
/// Exit code after [`crate::Control::Kill`].
pub(super) const EXIT_KILLED: u8 = 3;
/// Exit code when a replay differs from its journal.
pub(super) const EXIT_DIVERGED: u8 = 4;
