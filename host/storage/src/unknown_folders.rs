//! Folders of programs that the host does not know: those with state are set aside, others are removed.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use hersh_program::ProgramId;

use super::{
    Storage, StorageError,
    durable::{make_private, sync_folder},
};

impl Storage {
    /// Clears away the folder of a program that the host does not know. A folder without state, as a create
    /// that was cut short leaves it, is removed. A folder with state, as after an older journal was
    /// restored, is moved to `{data}/set-aside/{id}-{now_ms}` and stays there until a person decides.
    /// Returns the new path in that case.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed or moved.
    pub fn disown(
        &self,
        program: &ProgramId,
        now_ms: u64,
    ) -> Result<Option<PathBuf>, StorageError> {
        if has_entries(&self.paths(program).state)? {
            self.set_aside(program, now_ms).map(Some)
        } else {
            self.remove(program).map(|()| None)
        }
    }

    /// Returns whether the program was ever started, as far as its folders tell: a program whose creation
    /// was cut short has only source.
    ///
    /// # Errors
    /// [`StorageError`] when a folder can't be read.
    pub fn has_state(&self, program: &ProgramId) -> Result<bool, StorageError> {
        let paths = self.paths(program);
        for folder in [paths.state, paths.logs, paths.meta] {
            if has_entries(&folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves all folders of a program to `{data}/set-aside/{id}-{now_ms}`, whatever they hold. Returns the
    /// new path.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be moved.
    pub fn set_aside(&self, program: &ProgramId, now_ms: u64) -> Result<PathBuf, StorageError> {
        let root = self.paths(program).root;
        let name = format!("{program}-{now_ms}");
        put_aside(self.data_dir(), &root, Path::new(&name))
    }
}

/// Moves a file, and the files beside it whose names begin with its name and a dash, into
/// `set-aside/{name}-{now_ms}/` in the same folder, so on the same disk. Returns the new folder, or `None`
/// if there is no such file.
///
/// # Errors
/// [`StorageError`] naming what could not be moved.
pub fn set_file_aside(file: &Path, now_ms: u64) -> Result<Option<PathBuf>, StorageError> {
    let (Some(home), Some(name)) = (file.parent(), file.file_name().and_then(OsStr::to_str)) else {
        return Ok(None);
    };
    let failed = StorageError::at("list", home);
    let mut found = Vec::new();
    for entry in fs::read_dir(home).map_err(&failed)? {
        let entry = entry.map_err(&failed)?.file_name();
        let rest = entry.to_str().and_then(|entry| entry.strip_prefix(name));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            found.push(entry);
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let folder = format!("{name}-{now_ms}");
    make_private(&home.join("set-aside").join(&folder))?;
    for entry in found {
        let target = Path::new(&folder).join(&entry);
        put_aside(home, &home.join(&entry), &target)?;
    }
    Ok(Some(home.join("set-aside").join(folder)))
}

/// Moves the file or folder `from` to `{home}/set-aside/{to}`. Returns the new path.
fn put_aside(home: &Path, from: &Path, to: &Path) -> Result<PathBuf, StorageError> {
    let aside = home.join("set-aside");
    make_private(&aside)?;
    let target = aside.join(to);
    fs::rename(from, &target).map_err(StorageError::at("set aside", from))?;
    for folder in [target.parent(), from.parent()].into_iter().flatten() {
        sync_folder(folder)?;
    }
    Ok(target)
}

/// Returns whether a folder has entries; false if the folder is not there.
fn has_entries(folder: &Path) -> Result<bool, StorageError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::at("list", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_set_aside_on_its_own_disk_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(set_file_aside(&at("journal.db"), 7).unwrap(), None);
        for name in [
            "journal.db",
            "journal.db-wal",
            "journal.db.before-restore-1",
        ] {
            fs::write(at(name), name).unwrap();
        }
        let aside = set_file_aside(&at("journal.db"), 7).unwrap().unwrap();
        assert_eq!(aside, at("set-aside/journal.db-7"));
        for name in ["journal.db", "journal.db-wal"] {
            assert_eq!(fs::read_to_string(aside.join(name)).unwrap(), name);
            assert!(!at(name).exists());
        }
        assert!(at("journal.db.before-restore-1").exists());
    }
}
