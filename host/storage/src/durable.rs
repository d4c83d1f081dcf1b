//! Writes files and folders so that they outlast a power cut.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use super::StorageError;

/// Makes a folder, if it is not there yet, and lets only the host's user enter it.
pub(super) fn make_private(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(StorageError::at("make", path))?;
    set_mode(path, 0o700)
}

/// Sets the permission bits of a file or folder.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), StorageError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(StorageError::at("set the mode of", path))
}

/// Replaces a file in one step: readers see the old content or the new one, also after a power cut.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let partial = path.with_extension("partial");
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    if let Err(error) = written {
        // An error here is ignored: the first error matters more, and the next write replaces the file.
        drop(fs::remove_file(&partial));
        return Err(StorageError::at("write", path)(error));
    }
    path.parent().map_or(Ok(()), sync_folder)
}

/// Syncs a folder, so that the names in it outlast a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(StorageError::at("sync", path))
}
