//! One host per data folder.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Why the data folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another host has it.
    #[error("another host uses {0}; stop it, or start this one with another --data-dir")]
    Taken(String),
    /// The lock file can't be made.
    #[error("{path} can't be locked: {source}")]
    File {
        /// The lock file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
}

/// Held as long as the host lives; the kernel lets go of it however the host ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Locks `{data}/lock`.
    pub(crate) fn take(data: &Path) -> Result<Self, LockError> {
        let path = data.join("lock");
        let at = |source| LockError::File {
            path: path.display().to_string(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(at)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Taken(data.display().to_string())),
            Err(error) => Err(at(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_on_the_same_folder_is_refused_until_the_first_ends() {
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
