//! Copies a program's `/state` into a tar while nobody writes to it.
//!
//! ```text
//! state, opened beneath its folder, no links followed ─► staging, a file without a name ─► reader
//! ```
//! The state is copied to the host's own disk first, so that a paused program waits only for this copy,
//! and not for a client that reads slowly. The program made all files in the state, so none of them is
//! trusted: names are opened beneath the folder, kinds are checked after opening, and sizes are bounded.
//! Otherwise a hostile program could make the host copy files from outside the state, or fill the disk.

mod content;
mod meter;
mod tree;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    time::Instant,
};

use hersh_program::ProgramId;
use hersh_wire::ByteSize;
use rustix::io::Errno;

use self::{
    meter::{ENTRIES_MAX, HEAD_BYTES_MAX},
    tree::DEPTH_MAX,
};
use super::{Storage, StorageError, error::is_disk_full};

/// The bounds of one copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyBounds {
    /// The most bytes of all files together. Holes in files count, since they are read as zeros.
    pub bytes_max: u64,
    /// The bytes that must stay free on the disk.
    pub free_bytes_min: u64,
    /// When the copy must be done; `None` if nothing waits for it.
    pub deadline: Option<Instant>,
}

/// A tar in an unlinked file on the host's disk: closing the file deletes it.
#[derive(Debug)]
pub struct StateCopy {
    /// The file, positioned at its first byte.
    pub file: File,
    /// The length of the file, bytes.
    pub bytes: u64,
}

/// Why a state was not copied. Nothing of the copy is left.
#[derive(Debug, thiserror::Error)]
pub enum StateCopyError {
    /// The state holds more bytes than this bound.
    #[error("its /state holds more than {}, its limit: holes in files count here", String::from(ByteSize(*.0)))]
    TooLarge(u64),
    /// The state has too many entries, too deep folders or too long names.
    #[error(
        "its /state has more than {ENTRIES_MAX} files and folders, folders nested deeper than {DEPTH_MAX}, or names that take more than {}; remove some of them in the program",
        String::from(ByteSize(HEAD_BYTES_MAX))
    )]
    TooMany,
    /// The deadline has passed.
    #[error(
        "its /state can't be copied in the time that it may be paused; stop it, copy, and start it again"
    )]
    TooSlow,
    /// The host's disk is full, or would have less free space than must stay free.
    #[error(
        "the host's disk has no room for the copy; make some, or copy DATA/programs while the program is stopped"
    )]
    DiskFull,
    /// A file changed while it was copied.
    #[error("a file in its /state changed while it was copied; try again")]
    Changed,
    /// A folder or file of the host can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// Copies the program's `/state`. Nobody may write to it meanwhile: a write would make the copy
    /// inconsistent or make it fail. Leaves out sockets, pipes and devices. Blocks on the disk.
    ///
    /// # Errors
    /// [`StateCopyError`].
    pub fn copy_state(
        &self,
        program: &ProgramId,
        bounds: CopyBounds,
    ) -> Result<StateCopy, StateCopyError> {
        let place = self.staging().join(format!("state-{program}"));
        let failed = StorageError::at("copy state to", &place);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(error).into());
            }
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&place).map_err(&failed)?;
        fs::remove_file(&place).map_err(&failed)?;
        let state = self.paths(program).state;
        tree::write(&state, file, bounds).map_err(|stopped| match stopped {
            CopyStop::Bound(error) => error,
            CopyStop::Disk(error) if is_disk_full(&error) => StateCopyError::DiskFull,
            CopyStop::Disk(error) => StorageError::at("copy", &state)(error).into(),
        })
    }
}

/// The reason why copying stopped.
#[derive(Debug)]
enum CopyStop {
    Bound(StateCopyError),
    Disk(io::Error),
}

impl From<StateCopyError> for CopyStop {
    fn from(error: StateCopyError) -> Self {
        Self::Bound(error)
    }
}

impl From<io::Error> for CopyStop {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Errno> for CopyStop {
    fn from(error: Errno) -> Self {
        Self::Disk(error.into())
    }
}

#[cfg(test)]
mod tests;
