//! What one copy has taken so far, and whether it may go on.

use std::{fs::File, time::Instant};

use super::{CopyBounds, StateCopyError};

/// Entries in one copy. The watch over `/state` counts 4 KiB for each, so a usual limit is met first.
pub(super) const ENTRIES_MAX: u64 = 1_000_000;
/// The most that heads, names and targets of links take in one copy, bytes: they are no content, and
/// a name of 4 KiB costs as much as a small file.
pub(super) const HEAD_BYTES_MAX: u64 = 1 << 30;
/// So many entries are copied between two looks at the disk and the time.
const LOOK_ENTRIES: u64 = 1_000;
/// A block of a tar, bytes. A name that is longer than its field has an entry of its own.
const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;

/// The counts of one copy, held against its bounds.
pub(super) struct Meter {
    bounds: CopyBounds,
    /// A file on the disk that the copy goes to.
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

    /// Counts an entry with names of these lengths, and looks now and then.
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

    /// Counts a file's content before it is copied, and looks.
    pub(super) fn content(&mut self, size: u64) -> Result<(), StateCopyError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bounds.bytes_max {
            return Err(StateCopyError::TooLarge(self.bounds.bytes_max));
        }
        self.look()
    }

    /// Whether there is still time and room.
    pub(super) fn look(&self) -> Result<(), StateCopyError> {
        let deadline = self.bounds.deadline;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(StateCopyError::TooSlow);
        }
        // A disk that can't be asked is not in the way; it says itself when it is full.
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

/// What a name takes beside the head: nothing where its field is long enough.
fn long_name_bytes(name_bytes: usize) -> usize {
    if name_bytes <= NAME_BYTES {
        return 0;
    }
    BLOCK_BYTES + (name_bytes + 1).next_multiple_of(BLOCK_BYTES)
}
