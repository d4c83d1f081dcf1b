//! The kept output of programs.

use serde::{Deserialize, Serialize};

/// Where a program wrote a line to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line that a program printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the engine saw it, RFC 3339 with nanoseconds, UTC.
    pub at: String,
    /// Where it was written to.
    pub stream: Stream,
    /// Without the line end; cut at [`LINE_BYTES`].
    pub text: String,
}

/// The longest line that is kept, bytes; the rest of a longer one is dropped.
pub const LINE_BYTES: usize = 16 * 1024;
