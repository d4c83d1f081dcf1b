//! Folders that nobody owns: what a program may have kept is set aside, the rest is removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hersh_program::ProgramId;

use super::{
    Storage, StorageError,
    durable::{make_private, sync_folder},
};

impl Storage {
    /// Clears the folder of a program that nobody knows. A create that was cut short has no state
    /// yet and is removed; where there is state, as after an older journal was put back, the folder
    /// moves to `{data}/set-aside/{id}-{now_ms}`, which is returned, and stays until a person
    /// decides.
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

    /// Whether the program was ever started, as far as its folders tell: one whose creation was cut
    /// short has source only.
    ///
    /// # Errors
    /// [`StorageError`] when a folder can't be read.
    pub(crate) fn was_lived_in(&self, program: &ProgramId) -> Result<bool, StorageError> {
        let paths = self.paths(program);
        for folder in [paths.state, paths.logs, paths.meta] {
            if has_entries(&folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves all folders of a program to `{data}/set-aside/{id}-{now_ms}`, whatever is in them.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be moved.
    pub(crate) fn set_aside(
        &self,
        program: &ProgramId,
        now_ms: u64,
    ) -> Result<PathBuf, StorageError> {
        let root = self.paths(program).root;
        self.put_aside(&root, &format!("{program}-{now_ms}"))
    }

    /// Moves a file of the data folder, with those whose names begin with its own and a dash, into
    /// `{data}/set-aside/{name}-{now_ms}/`. None there is a success.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be moved.
    pub(crate) fn set_file_aside(
        &self,
        name: &str,
        now_ms: u64,
    ) -> Result<Option<PathBuf>, StorageError> {
        let data = self.data_dir();
        let failed = StorageError::at("list", data);
        let mut found = Vec::new();
        for entry in fs::read_dir(data).map_err(&failed)? {
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
        make_private(&data.join("set-aside").join(&folder))?;
        for entry in found {
            let target = Path::new(&folder).join(&entry);
            self.put_aside(&data.join(&entry), &target.to_string_lossy())?;
        }
        Ok(Some(data.join("set-aside").join(folder)))
    }

    fn put_aside(&self, from: &Path, to: &str) -> Result<PathBuf, StorageError> {
        let aside = self.data_dir().join("set-aside");
        make_private(&aside)?;
        let target = aside.join(to);
        fs::rename(from, &target).map_err(StorageError::at("set aside", from))?;
        for folder in [target.parent(), from.parent()].into_iter().flatten() {
            sync_folder(folder)?;
        }
        Ok(target)
    }
}

/// Whether there is something in a folder; in one that is not there, there is not.
fn has_entries(folder: &Path) -> Result<bool, StorageError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::at("list", folder)(error)),
    }
}
