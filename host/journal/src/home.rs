//! Where a host keeps its journal: in its data folder, or in a folder of its own. On a disk of its own, no
//! program can take the journal's space.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hersh_base::lock::{DataLock, LockError};

use super::{JOURNAL_FILE, OpenError};

/// Where a host keeps its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    data: PathBuf,
    folder: PathBuf,
}

impl Home {
    /// The home of the journal of the host with the data folder `data`: in `folder` if there is one,
    /// otherwise in `data`.
    #[must_use]
    pub fn new(data: &Path, folder: Option<&Path>) -> Self {
        Self {
            data: data.to_owned(),
            folder: folder.unwrap_or(data).to_owned(),
        }
    }

    /// Returns the data folder, which the host locks.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the folder of the journal.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of the journal's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(JOURNAL_FILE)
    }

    /// Checks that no journal was left in the data folder when the journal got a folder of its own. Without
    /// this check a host would begin a new journal. A log that was left behind alone holds the last events,
    /// which would be lost.
    ///
    /// # Errors
    /// [`OpenError::Elsewhere`].
    pub fn check(&self) -> Result<(), OpenError> {
        let (before, now) = (self.data.join(JOURNAL_FILE), self.file());
        let log = self.data.join(format!("{JOURNAL_FILE}-wal"));
        let left = match (before.is_file(), now.is_file()) {
            (true, false) => before,
            (false, true | false) if before != now && has_content(&log) => log,
            (true, true) | (false, true | false) => return Ok(()),
        };
        Err(OpenError::Elsewhere {
            path: left.display().to_string(),
            folder: self.folder.display().to_string(),
        })
    }

    /// Locks the journal's folder, so that no host with another data folder uses the same journal. Returns
    /// `None` if the journal lies in the data folder, whose own lock is enough.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self) -> Result<Option<DataLock>, LockError> {
        if fs::canonicalize(&self.folder).ok() == fs::canonicalize(&self.data).ok() {
            return Ok(None);
        }
        DataLock::take(&self.folder).map(Some)
    }

    /// Makes the journal's folder, which only the host's user can enter.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn make(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.folder)
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

impl From<&Path> for Home {
    fn from(data: &Path) -> Self {
        Self::new(data, None)
    }
}

impl From<&PathBuf> for Home {
    fn from(data: &PathBuf) -> Self {
        Self::new(data, None)
    }
}
