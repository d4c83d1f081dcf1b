//! The limits of one source tree.

use hersh_wire::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, SOURCE_ENTRIES_MAX, SOURCE_PATH_BYTES_MAX};

/// Upper bounds on one source tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// The most bytes of all file contents together, once unpacked.
    pub total_bytes: u64,
    /// The most files, folders and links, including folders that are only part of the path of another entry.
    pub entries: u64,
    /// The longest path, bytes.
    pub path_bytes: usize,
    /// The most components of one path.
    pub depth: usize,
    /// The bytes that must stay free on the disk; checked repeatedly while files are written.
    pub free_bytes_min: u64,
}

impl SourceLimits {
    /// Returns the most bytes that an honest archive within these limits takes: its files, and for each
    /// entry its headers and padding, with space for long names.
    #[must_use]
    pub fn archive_bytes_max(&self) -> u64 {
        const ENTRY_BYTES: u64 = 8 * 1024;
        const REST_BYTES: u64 = 1024 * 1024;
        let entries = self.entries.saturating_mul(ENTRY_BYTES);
        self.total_bytes
            .saturating_add(entries)
            .saturating_add(REST_BYTES)
    }
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            total_bytes: SOURCE_BYTES_MAX,
            entries: SOURCE_ENTRIES_MAX,
            path_bytes: SOURCE_PATH_BYTES_MAX,
            depth: SOURCE_DEPTH_MAX,
            free_bytes_min: 0,
        }
    }
}
