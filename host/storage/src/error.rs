//! How storage fails.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Something of the host's own folders can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {path}: {source}{advice}", path = path.display(), advice = advice(source))]
pub struct StorageError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the file system said.
    pub source: io::Error,
}

impl StorageError {
    /// True when there was no room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }

    /// What happened, for those who don't know this machine's folders.
    #[must_use]
    pub fn without_path(&self) -> String {
        let (action, source) = (self.action, &self.source);
        format!("can't {action} a folder of the program: {source}")
    }

    /// For `map_err`: the failure of `action` on `path`.
    pub fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self {
            action,
            path: path.clone(),
            source,
        }
    }
}

/// Source that is not taken in. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// More bytes than allowed, once unpacked.
    #[error(
        "source is larger than {limit_bytes} bytes: it was cut off at {entry:?}; leave build output and data out with .dockerignore"
    )]
    TooLarge {
        /// The entry at which the limit was passed.
        entry: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// More entries than allowed.
    #[error(
        "source has more than {limit} entries: it was cut off at {entry:?}; leave build output and data out with .dockerignore"
    )]
    TooManyEntries {
        /// The first entry past the limit.
        entry: String,
        /// The limit.
        limit: u64,
    },
    /// An entry that could harm the host or the other entries.
    #[error("entry {entry:?} is refused: {reason}")]
    Refused {
        /// The entry's path as it came, cut to 200 characters.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a tar archive, or one that ends early.
    #[error("source is not a readable tar archive (plain, gzip or zstd): {message}")]
    Unreadable {
        /// What the reader said.
        message: String,
    },
    /// Nothing says how to build it.
    #[error(
        "source has no {path}: put a Dockerfile there, or name the one it has by [build] dockerfile in hersh.toml"
    )]
    MissingDockerfile {
        /// Where it was looked for.
        path: String,
    },
    /// No room.
    #[error("the host's disk is full: free space in {path} and send the source again", path = path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// The host can't store it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// True for "no space" and "over quota".
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
