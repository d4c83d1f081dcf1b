//! Writes the files of a source tree.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    StorageError,
    attributes::Attributes,
    error::{SourceError, is_disk_full},
};

/// How many bytes are written between two checks of the free space.
const LOOK_BYTES: u64 = 8 << 20;

/// The space that must stay free on the disk of a tree.
pub(super) struct Floor<'a> {
    pub(super) root: &'a Path,
    pub(super) free_bytes_min: u64,
}

impl Floor<'_> {
    fn check(&self) -> Result<(), SourceError> {
        // If the free space can't be told, writing goes on: a write fails anyway when the disk is full.
        let Ok(room) = rustix::fs::statvfs(self.root) else {
            return Ok(());
        };
        if room.f_bavail.saturating_mul(room.f_frsize) >= self.free_bytes_min {
            return Ok(());
        }
        Err(disk_full(self.root))
    }
}

/// Writes a new file of exactly `size_bytes` from `content`. Returns the SHA-256 of what was written.
pub(super) fn write_file(
    place: &Path,
    attributes: Attributes,
    size_bytes: u64,
    content: &mut dyn Read,
    floor: Floor<'_>,
) -> Result<[u8; 32], SourceError> {
    floor.check()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)
        .map_err(failed("write", place))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size_bytes;
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let count = match content.read(&mut buffer[..room]) {
            Ok(0) => return Err(unreadable("it ends in the middle of a file")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count])
            .map_err(failed("write", place))?;
        let before = left;
        left -= u64::try_from(count).unwrap_or(left);
        if left / LOOK_BYTES < before / LOOK_BYTES {
            floor.check()?;
        }
    }
    attributes
        .apply(&file)
        .map_err(failed("set the mode of", place))?;
    Ok(hash.finalize().into())
}

/// Returns a function for `map_err` that makes the failure of `action` on `path`, or
/// [`SourceError::DiskFull`] if the disk is full.
pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    move |error| {
        if is_disk_full(&error) {
            disk_full(&path)
        } else {
            StorageError::at(action, &path)(error).into()
        }
    }
}

fn disk_full(path: &Path) -> SourceError {
    // A person can do more with the data folder than with a path in staging that was removed.
    let path = path.ancestors().find(|path| path.ends_with("staging"));
    SourceError::DiskFull {
        path: path
            .and_then(Path::parent)
            .unwrap_or(Path::new("the data folder"))
            .to_owned(),
    }
}

/// Makes the error for an archive that can't be read, for use with `map_err`.
pub(super) fn unreadable(message: impl ToString) -> SourceError {
    SourceError::Unreadable {
        message: message.to_string(),
    }
}
