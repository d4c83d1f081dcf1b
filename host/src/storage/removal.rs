//! Removal of all that is stored of a program.
//!
//! ```text
//! programs/{id} ──rename──► removing/{id}-{n} ──► nothing
//! ```
//!
//! A tree with millions of entries takes minutes, longer than anybody waits for it. So it first leaves
//! the program's place in one step: what the program is given afterwards is never touched by a removal
//! that was given up and goes on.

use std::{fs, io};

use hersh_program::ProgramId;

use super::{
    Storage, StorageError,
    durable::{make_private, sync_folder},
    remove::remove_tree,
};

impl Storage {
    /// Removes all that is stored of the program, whatever it left in its state folder. Nothing
    /// stored is a success.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed. What had left the program's place by then is
    /// removed by the next call, or by [`Storage::finish_removals`].
    pub fn remove(&self, program: &ProgramId) -> Result<(), StorageError> {
        let root = self.paths(program).root;
        let removing = self.data_dir().join("removing");
        make_private(&removing)?;
        let mut number = 0_u64;
        loop {
            match fs::rename(&root, removing.join(format!("{program}-{number}"))) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                // An earlier removal is not over, or was given up. There are finitely many.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => number += 1,
                Err(error) => return Err(StorageError::at("remove", &root)(error)),
            }
        }
        sync_folder(&self.data_dir().join("programs"))?;
        self.empty_removing(|of| of == program.as_str())
    }

    /// Removes what removals that were cut short have left.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed.
    pub fn finish_removals(&self) -> Result<(), StorageError> {
        self.empty_removing(|_any| true)
    }

    fn empty_removing(&self, is_chosen: impl Fn(&str) -> bool) -> Result<(), StorageError> {
        let removing = self.data_dir().join("removing");
        let failed = StorageError::at("list", &removing);
        let entries = match fs::read_dir(&removing) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let program = name.and_then(|name| name.rsplit_once('-'));
            if program.is_some_and(|(program, _number)| is_chosen(program)) {
                remove_tree(&path).map_err(StorageError::at("remove", &path))?;
            }
        }
        Ok(())
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

    fn left(storage: &Storage) -> usize {
        let removing = storage.data_dir().join("removing");
        fs::read_dir(removing).unwrap().count()
    }

    #[test]
    fn a_removal_cut_short_spares_the_next_program() {
        let (_folder, storage) = storage();
        let id = ProgramId::parse("shop").unwrap();
        // What a removal has left that was cut short behind its first step.
        let cut = storage.data_dir().join("removing/shop-0");
        fs::create_dir_all(cut.join("state")).unwrap();
        fs::write(cut.join("state/old"), "x").unwrap();
        let paths = storage.ensure_folders(&id).unwrap();
        fs::write(paths.state.join("new"), "x").unwrap();
        storage.finish_removals().unwrap();
        assert_eq!(left(&storage), 0);
        assert!(paths.state.join("new").exists());
    }

    #[test]
    fn a_removal_again_removes_what_the_first_has_left() {
        let (_folder, storage) = storage();
        let id = ProgramId::parse("shop").unwrap();
        for path in ["shop-0/state", "shop-2-0/state"] {
            let path = storage.data_dir().join("removing").join(path);
            fs::create_dir_all(path).unwrap();
        }
        let paths = storage.ensure_folders(&id).unwrap();
        storage.remove(&id).unwrap();
        assert!(!paths.root.exists());
        // That of `shop-2` is another program's.
        assert_eq!(left(&storage), 1);
        storage.remove(&id).unwrap();
    }
}
