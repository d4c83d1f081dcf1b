//! Where a host keeps its journal: in its data folder, or in a folder on a disk of its own, which no
//! program can fill.

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
    /// The journal of the host on the folder `data`, kept in `folder` if there is one.
    #[must_use]
    pub fn new(data: &Path, folder: Option<&Path>) -> Self {
        Self {
            data: data.to_owned(),
            folder: folder.unwrap_or(data).to_owned(),
        }
    }

    /// The data folder, which the host locks.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of the journal.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The journal's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(JOURNAL_FILE)
    }

    /// Looks whether the journal lies where it was before it got a folder of its own: a host would
    /// begin another one. Its log left there alone would lose the last events.
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

    /// Keeps hosts with another data folder from the journal. One that lies in the data folder needs no
    /// lock beside that one's.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self) -> Result<Option<DataLock>, LockError> {
        if fs::canonicalize(&self.folder).ok() == fs::canonicalize(&self.data).ok() {
            return Ok(None);
        }
        DataLock::take(&self.folder).map(Some)
    }

    /// Makes the folder, which only the host's user can enter.
    ///
    /// # Errors
    /// As the file system says.
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
