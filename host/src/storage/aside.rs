//! Folders that nobody owns: what a program may have kept is set aside, the rest is removed.

use std::{fs, io, path::PathBuf};

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
        let paths = self.paths(program);
        let has_state = match fs::read_dir(&paths.state) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(StorageError::at("list", &paths.state)(error)),
        };
        if !has_state {
            return self.remove(program).map(|()| None);
        }
        let aside = self.data_dir().join("set-aside");
        make_private(&aside)?;
        let target = aside.join(format!("{program}-{now_ms}"));
        fs::rename(&paths.root, &target).map_err(StorageError::at("set aside", &paths.root))?;
        sync_folder(&aside)?;
        sync_folder(&self.data_dir().join("programs"))?;
        Ok(Some(target))
    }
}
