//! A log of commits: a file that grows by a frame a commit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;

use super::commit::Commit;

/// The bytes that every log begins with, before its id.
const MAGIC: &str = "hersh commits 1 ";
/// How far a log is lengthened ahead of what is written: a sync of bytes that are there already costs a third less than
/// one that also has to note a new length.
const AHEAD_BYTES: u64 = 64 * 1024;
/// The length from which on a log that is longer than its snapshot is given up for a new one, bytes.
pub(super) const LOG_LEAST_BYTES: usize = 1024 * 1024;

/// The log that commits are added to.
#[derive(Debug)]
pub(super) struct CommitLog {
    pub(super) file: File,
    head_bytes: u64,
    /// The bytes of it that are committed.
    bytes: u64,
    /// Those of them that are synced.
    synced: u64,
    /// The bytes that it has on disk: zeros follow the commits.
    allocated: u64,
    bytes_max: u64,
}

impl CommitLog {
    /// Returns a log that has nothing but its head, in a file that is synced. It is full when it is longer than the
    /// snapshot that it goes on with.
    pub(super) fn new(file: File, head: &str, snapshot_bytes: usize) -> Self {
        let bytes = head.len() as u64;
        Self {
            file,
            head_bytes: bytes,
            bytes,
            synced: bytes,
            allocated: bytes,
            bytes_max: snapshot_bytes.max(LOG_LEAST_BYTES) as u64,
        }
    }

    /// Returns whether a new snapshot should take its place.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Takes back what was written behind what is committed.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)
    }

    /// Writes behind what is committed.
    pub(super) fn append(&mut self, commits: &[&Commit], syncs: bool) -> io::Result<()> {
        let mut frames = Vec::new();
        for commit in commits {
            let synced = self.synced - self.head_bytes;
            commit
                .append_to(&mut frames, synced)
                .map_err(io::Error::other)?;
        }
        let end = self.bytes + frames.len() as u64;
        if end > self.allocated {
            let more = (end - self.allocated).max(AHEAD_BYTES);
            // Where this is not known, or a quota leaves no room for it, a write lengthens the file.
            let flags = FallocateFlags::empty();
            if rustix::fs::fallocate(&self.file, flags, self.allocated, more).is_ok() {
                self.allocated += more;
            }
        }
        self.file.write_all_at(&frames, self.bytes)?;
        if syncs {
            self.file.sync_data()?;
            self.synced = end;
        }
        self.bytes = end;
        Ok(())
    }
}

/// Returns what a log with this id begins with.
pub(super) fn head(id: &str) -> String {
    format!("{MAGIC}{id}\n")
}
