//! How much one source tree may be.

use hersh_wire::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, SOURCE_ENTRIES_MAX, SOURCE_PATH_BYTES_MAX};

/// Upper bounds on one source tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Sum of all file contents once unpacked, bytes.
    pub total_bytes: u64,
    /// Files, folders and links, those folders included that are only implied by a path.
    pub entries: u64,
    /// Length of one path, bytes.
    pub path_bytes: usize,
    /// Components of one path.
    pub depth: usize,
    /// What must stay free on the disk, bytes; looked at again and again while files are written.
    pub free_bytes_min: u64,
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
