//! The errors of storage.

use std::{
    io,
    path::{Path, PathBuf},
};

/// An error of a file or folder of the host.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {path}: {source}{advice}", path = path.display(), advice = advice(source))]
pub struct StorageError {
    /// The action that was tried, as a verb.
    pub action: &'static str,
    /// The file or folder that it was tried on.
    pub path: PathBuf,
    /// The error of the file system.
    pub source: io::Error,
}

impl StorageError {
    /// Returns true if the disk had no space.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }

    /// Returns the error without the path, for users who may not know the folders of this machine.
    #[must_use]
    pub fn without_path(&self) -> String {
        let (action, source) = (self.action, &self.source);
        format!("can't {action} a folder of the program: {source}")
    }

    /// Returns a function for `map_err` that makes the failure of `action` on `path`.
    pub fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self {
            action,
            path: path.clone(),
            source,
        }
    }
}

/// Why a source tree was refused. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source has more bytes than allowed, once unpacked.
    #[error(
        "source is larger than {limit_bytes} bytes: it was cut off at {entry:?}; leave build output and data out with .dockerignore"
    )]
    TooLarge {
        /// The entry at which the limit was passed.
        entry: String,
        /// The limit, bytes.
        limit_bytes: u64,
    },
    /// The source has more entries than allowed.
    #[error(
        "source has more than {limit} entries: it was cut off at {entry:?}; leave build output and data out with .dockerignore"
    )]
    TooManyEntries {
        /// The first entry past the limit.
        entry: String,
        /// The most entries that are allowed.
        limit: u64,
    },
    /// An entry of the source could harm the host or other entries.
    #[error("entry {entry:?} is refused: {reason}")]
    Refused {
        /// The entry's path as it came, cut to 200 characters.
        entry: String,
        /// The reason why the entry is refused.
        reason: &'static str,
    },
    /// The source is not a tar archive, or it ends early.
    #[error("source is not a readable tar archive (plain, gzip or zstd): {message}")]
    Unreadable {
        /// The message of the reader.
        message: String,
    },
    /// The source has no Dockerfile at the expected path.
    #[error(
        "source has no {path}: put a Dockerfile there, or name the one it has by [build] dockerfile in hersh.toml"
    )]
    MissingDockerfile {
        /// The path at which the Dockerfile was expected.
        path: String,
    },
    /// The host's disk is full.
    #[error("the host's disk is full: free space in {path} and send the source again", path = path.display())]
    DiskFull {
        /// The data folder of the host.
        path: PathBuf,
    },
    /// A file or folder of the host can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Returns true for the errors "no space" and "over quota".
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn advice(error: &io::Error) -> &'static str {
    if is_disk_full(error) {
        "; free space there and try again"
    } else {
        ""
    }
}
