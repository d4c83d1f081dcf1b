//! The host's records beside the journal: evidence of starts, fetched images, and paused instances.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use hersh_program::{InstanceId, InstanceNumber, ProgramId};
use serde::{Serialize, de::DeserializeOwned};

use super::{Storage, StorageError, durable::write_whole};

/// The note of a paused instance, as this host or an older one writes it.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum PauseNote {
    Instance(InstanceNumber),
    /// The container's id, which older hosts wrote, because they did not number instances.
    Container(serde::de::IgnoredAny),
}

impl Storage {
    /// Removes the compose files that older hosts wrote at each start, because they hold the values of
    /// environment variables.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed.
    pub fn remove_compose_files(&self) -> Result<(), StorageError> {
        for program in self.programs()? {
            let folder = self.paths(&program).root.join("compose");
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::at("remove", &folder)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Stores the evidence of the last start.
    ///
    /// # Errors
    /// [`StorageError`]; the evidence of the start before stays then.
    pub fn write_receipt(
        &self,
        program: &ProgramId,
        receipt: &impl Serialize,
    ) -> Result<(), StorageError> {
        write_json(&self.receipt(program), receipt)
    }

    /// Returns the evidence of the last start; `None` if there was no start.
    ///
    /// # Errors
    /// [`StorageError`] when the evidence can't be read.
    pub fn read_receipt<R: DeserializeOwned>(
        &self,
        program: &ProgramId,
    ) -> Result<Option<R>, StorageError> {
        read_json(&self.receipt(program))
    }

    /// Returns the base images that builds had fetched: for each name, when a build last used the image,
    /// milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StorageError`] when the record can't be read.
    pub fn read_fetched_images(&self) -> Result<BTreeMap<String, u64>, StorageError> {
        Ok(read_json(&self.fetched_images())?.unwrap_or_default())
    }

    /// Stores the record of fetched base images.
    ///
    /// # Errors
    /// [`StorageError`]; the record before stays then.
    pub fn write_fetched_images(&self, images: &BTreeMap<String, u64>) -> Result<(), StorageError> {
        write_json(&self.fetched_images(), images)
    }

    /// Notes that the instance is about to be paused.
    ///
    /// # Errors
    /// [`StorageError`]; nothing is noted then.
    pub fn note_paused(&self, instance: &InstanceId) -> Result<(), StorageError> {
        write_json(&self.paused(&instance.program), &instance.number)
    }

    /// Returns the instance of the program that a host paused and may not have woken.
    ///
    /// # Errors
    /// [`StorageError`] when the note can't be read.
    pub fn read_paused(&self, program: &ProgramId) -> Result<Option<InstanceId>, StorageError> {
        let noted: Option<PauseNote> = read_json(&self.paused(program))?;
        Ok(noted.map(|noted| InstanceId {
            program: program.clone(),
            number: match noted {
                PauseNote::Instance(number) => number,
                PauseNote::Container(_) => InstanceNumber::UNNUMBERED,
            },
        }))
    }

    /// Removes the note of a paused instance. Succeeds if there is none.
    ///
    /// # Errors
    /// [`StorageError`] when the note is still there.
    pub fn forget_paused(&self, program: &ProgramId) -> Result<(), StorageError> {
        let path = self.paused(program);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::at("remove", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn paused(&self, program: &ProgramId) -> PathBuf {
        self.paths(program).meta.join("paused.json")
    }

    fn receipt(&self, program: &ProgramId) -> PathBuf {
        self.paths(program).meta.join("receipt.json")
    }

    fn fetched_images(&self) -> PathBuf {
        self.data.join("fetched-images.json")
    }
}

/// Reads a JSON file; returns `None` if there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StorageError::at("read", path)(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::at("read", path)(error)),
    }
}

/// Replaces the whole file at `path`, or leaves it as it was.
pub(super) fn write_json(path: &Path, record: &impl Serialize) -> Result<(), StorageError> {
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| StorageError::at("write", path)(io::Error::other(error)))?;
    write_whole(path, &text)
}
