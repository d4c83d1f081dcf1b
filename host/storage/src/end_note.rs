//! Notes why the host ended an instance, until the journal holds the reason.
//!
//! A note is an empty file whose name says everything, `meta/ended.disk_full.CONTAINER`: a full disk has
//! space for a name, but not for the content of a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hersh_program::{ContainerId, ExitReason, ProgramId};

use super::{Storage, StorageError};

const PREFIX: &str = "ended.";

/// Why the host ended an instance of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndNote {
    /// The program's `/state` held more than its limit.
    StateQuota,
    /// The program filled the disk.
    DiskFull,
}

impl EndNote {
    const ALL: [Self; 2] = [Self::StateQuota, Self::DiskFull];

    /// Returns the exit reason of such an instance.
    pub fn reason(self) -> ExitReason {
        match self {
            Self::StateQuota => ExitReason::StateQuota,
            Self::DiskFull => ExitReason::DiskFull,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::StateQuota => "state_quota",
            Self::DiskFull => "disk_full",
        }
    }
}

impl Storage {
    /// Notes that the host ends the instance of the program in this container, and why.
    ///
    /// # Errors
    /// [`StorageError`] when the note could not be made.
    pub fn note_end(
        &self,
        program: &ProgramId,
        container: &ContainerId,
        note: EndNote,
    ) -> Result<(), StorageError> {
        let meta = self.paths(program).meta;
        let path = meta.join(format!("{PREFIX}{}.{container}", note.name()));
        fs::File::create(&path)
            .and_then(|_| fs::File::open(&meta)?.sync_all())
            .map_err(StorageError::at("make", &path))
    }

    /// Returns the container of a note, and why the host ended its instance; `None` if there is no note.
    ///
    /// # Errors
    /// [`StorageError`] when the folder can't be read.
    pub fn read_end(
        &self,
        program: &ProgramId,
    ) -> Result<Option<(ContainerId, EndNote)>, StorageError> {
        let mut notes = notes(&self.paths(program).meta)?;
        Ok(notes.pop().map(|(_, container, note)| (container, note)))
    }

    /// Removes the program's notes. Succeeds if there are none.
    ///
    /// # Errors
    /// [`StorageError`] when a note is still there.
    pub fn forget_end(&self, program: &ProgramId) -> Result<(), StorageError> {
        for (path, ..) in notes(&self.paths(program).meta)? {
            fs::remove_file(&path).map_err(StorageError::at("remove", &path))?;
        }
        Ok(())
    }
}

fn notes(meta: &Path) -> Result<Vec<(PathBuf, ContainerId, EndNote)>, StorageError> {
    let failed = StorageError::at("list", meta);
    let entries = match fs::read_dir(meta) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(&failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((container, note)) = name.and_then(parse) {
            found.push((path, container, note));
        }
    }
    Ok(found)
}

fn parse(name: &str) -> Option<(ContainerId, EndNote)> {
    let (why, container) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let note = EndNote::ALL.into_iter().find(|note| note.name() == why)?;
    Some((ContainerId::parse(container).ok()?, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_an_end_is_read_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let program = ProgramId::parse("a").unwrap();
        assert_eq!(storage.read_end(&program).unwrap(), None);
        storage.forget_end(&program).unwrap();
        storage.ensure_folders(&program).unwrap();
        let container = ContainerId::parse("0123456789ab").unwrap();
        for note in EndNote::ALL {
            storage.note_end(&program, &container, note).unwrap();
            let found = storage.read_end(&program).unwrap();
            assert_eq!(found, Some((container.clone(), note)));
            storage.forget_end(&program).unwrap();
            assert_eq!(storage.read_end(&program).unwrap(), None);
        }
    }
}
