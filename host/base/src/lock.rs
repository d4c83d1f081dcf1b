//! Locks on a data folder: at most one host uses it, and at most one backup of it is made at a time.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Why the data folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another host holds the lock of this data folder.
    #[error(
        "another host uses {0}; stop it, or start this one with another --data-dir or --journal-dir"
    )]
    Taken(String),
    /// Another backup of this data folder is being made.
    #[error("another backup of {0} is being made; try again when it has ended")]
    BeingCopied(String),
    /// The lock file can't be opened or locked.
    #[error("{path} can't be locked: {source}")]
    File {
        /// The lock file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
}

/// The lock on a data folder, held as long as the host lives. The kernel releases the lock however the
/// host ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Locks `{data}/lock`.
    ///
    /// # Errors
    /// [`LockError`], also while another host holds the lock.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let file = lock(&data.join("lock"))?;
        file.map(|file| Self { _file: file })
            .ok_or_else(|| LockError::Taken(data.display().to_string()))
    }
}

/// Locks `{data}/backup.lock` until the returned file is dropped. It does not matter whether a host runs.
///
/// # Errors
/// [`LockError`], also while another backup is made.
pub fn take_for_backup(data: &Path) -> Result<File, LockError> {
    lock(&data.join("backup.lock"))?
        .ok_or_else(|| LockError::BeingCopied(data.display().to_string()))
}

/// Opens and locks the file at `path`. Returns `None` if somebody else holds the lock.
fn lock(path: &Path) -> Result<Option<File>, LockError> {
    let at = |source| LockError::File {
        path: path.display().to_string(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(at)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(at(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_on_one_folder_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let first = DataLock::take(data.path()).unwrap();
        assert!(matches!(
            DataLock::take(data.path()),
            Err(LockError::Taken(_))
        ));
        drop(first);
        assert!(DataLock::take(data.path()).is_ok());
    }
}
