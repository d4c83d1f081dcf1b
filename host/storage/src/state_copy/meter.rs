//! Counts what one copy has taken so far, and checks whether it may go on.

use std::{fs::File, time::Instant};

use super::{CopyBounds, StateCopyError};

/// The most entries in one copy. The measurement of `/state` counts 4 KiB for each entry, so a usual limit
/// of the state is reached first.
pub(super) const ENTRIES_MAX: u64 = 1_000_000;
/// The most bytes that headers, names and link targets take in one copy. The bound on content does not
/// count them, and a name of 4 KiB takes as much space as a small file.
pub(super) const HEAD_BYTES_MAX: u64 = 1 << 30;
/// How many entries are copied between two checks of the disk and the time.
const LOOK_ENTRIES: u64 = 1_000;
/// The size of a block of a tar, bytes. A name that is longer than its field in the header gets an entry
/// of its own.
const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;

/// The counts of one copy, and the bounds that they are checked against.
pub(super) struct Meter {
    bounds: CopyBounds,
    /// A file on the disk that the copy is written to.
    on: File,
    bytes: u64,
    head_bytes: u64,
    entries: u64,
}

impl Meter {
    pub(super) fn new(bounds: CopyBounds, on: File) -> Self {
        Self {
            bounds,
            on,
            bytes: 0,
            head_bytes: 0,
            entries: 0,
        }
    }

    /// Counts an entry with names of these lengths. Checks time and space after every [`LOOK_ENTRIES`].
    pub(super) fn entry(
        &mut self,
        path_bytes: usize,
        target_bytes: usize,
    ) -> Result<(), StateCopyError> {
        self.entries += 1;
        let head = BLOCK_BYTES + long_name_bytes(path_bytes) + long_name_bytes(target_bytes);
        let head = u64::try_from(head).unwrap_or(u64::MAX);
        self.head_bytes = self.head_bytes.saturating_add(head);
        if self.entries > ENTRIES_MAX || self.head_bytes > HEAD_BYTES_MAX {
            return Err(StateCopyError::TooMany);
        }
        if self.entries.is_multiple_of(LOOK_ENTRIES) {
            self.look()?;
        }
        Ok(())
    }

    /// Counts a file's content before it is copied, and checks time and space.
    pub(super) fn content(&mut self, size: u64) -> Result<(), StateCopyError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bounds.bytes_max {
            return Err(StateCopyError::TooLarge(self.bounds.bytes_max));
        }
        self.look()
    }

    /// Checks that there is still time and space.
    pub(super) fn look(&self) -> Result<(), StateCopyError> {
        let deadline = self.bounds.deadline;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(StateCopyError::TooSlow);
        }
        // If the free space can't be told, the copy goes on: a write fails anyway when the disk is full.
        match rustix::fs::fstatvfs(&self.on) {
            Ok(room)
                if room.f_bavail.saturating_mul(room.f_frsize) < self.bounds.free_bytes_min =>
            {
                Err(StateCopyError::DiskFull)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Returns how many bytes a name takes besides the header: 0 if it fits into its field.
fn long_name_bytes(name_bytes: usize) -> usize {
    if name_bytes <= NAME_BYTES {
        return 0;
    }
    BLOCK_BYTES + (name_bytes + 1).next_multiple_of(BLOCK_BYTES)
}
