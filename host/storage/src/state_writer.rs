//! The instance of a program that may write to its `/state`. Two at once would damage what is in there.
//!
//! The number is kept beside the state, out of the program's reach. Each start raises it first, so a start that
//! comes late, after a newer one, finds that its instance may not write any more.

use std::path::PathBuf;

use hersh_program::{InstanceId, InstanceNumber, ProgramId};

use super::{
    Storage, StorageError,
    records::{read_json, write_json},
};

/// The state could not be given to an instance.
#[derive(Debug, thiserror::Error)]
pub enum StateWriterError {
    /// A newer instance has the state.
    #[error("{instance} may not write to /state: instance {writer} was started since")]
    Older {
        /// The instance that asked for the state.
        instance: InstanceId,
        /// The instance that has it.
        writer: InstanceNumber,
    },
    /// The number could not be read or stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// Gives the state of a program to `instance`, which is about to be started. Nothing newer may write to it
    /// yet.
    ///
    /// # Errors
    /// [`StateWriterError`]; the instance must not be started then.
    pub fn give_state(&self, instance: &InstanceId) -> Result<(), StateWriterError> {
        let path = self.state_writer(&instance.program);
        let writer: Option<InstanceNumber> = read_json(&path)?;
        match writer {
            Some(writer) if writer > instance.number => Err(StateWriterError::Older {
                instance: instance.clone(),
                writer,
            }),
            Some(writer) if writer == instance.number => Ok(()),
            Some(_) | None => Ok(write_json(&path, &instance.number)?),
        }
    }

    /// Takes the state back from instances that the journal does not know: `newest` is the newest instance that it
    /// knows. After a restore of an older journal, numbers count on from there. The caller has seen to it that no
    /// newer instance runs.
    ///
    /// # Errors
    /// [`StorageError`] when the number could not be read or stored.
    pub fn take_state_back(
        &self,
        program: &ProgramId,
        newest: InstanceNumber,
    ) -> Result<(), StorageError> {
        let path = self.state_writer(program);
        let writer: Option<InstanceNumber> = read_json(&path)?;
        match writer {
            Some(writer) if writer > newest => write_json(&path, &newest),
            Some(_) | None => Ok(()),
        }
    }

    fn state_writer(&self, program: &ProgramId) -> PathBuf {
        self.paths(program).meta.join("state-writer.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, Storage) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        (folder, storage)
    }

    fn instance(number: u64) -> InstanceId {
        InstanceId {
            program: ProgramId::parse("counter").unwrap(),
            number: InstanceNumber(number),
        }
    }

    #[test]
    fn a_late_start_does_not_get_the_state() {
        let (_folder, storage) = storage();
        storage.ensure_folders(&instance(1).program).unwrap();
        for number in [1, 1, 3] {
            storage.give_state(&instance(number)).unwrap();
        }
        let late = storage.give_state(&instance(2)).unwrap_err();
        assert_eq!(
            late.to_string(),
            "counter.2 may not write to /state: instance 3 was started since"
        );
    }

    #[test]
    fn an_older_journal_counts_on_from_where_it_was() {
        let (_folder, storage) = storage();
        let program = instance(1).program;
        storage.ensure_folders(&program).unwrap();
        storage.give_state(&instance(9)).unwrap();
        storage
            .take_state_back(&program, InstanceNumber(4))
            .unwrap();
        storage.give_state(&instance(5)).unwrap();
        assert!(storage.give_state(&instance(4)).is_err());
    }
}
