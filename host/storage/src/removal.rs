//! Removes everything that is stored of a program.
//!
//! ```text
//! programs/{id} ──rename──► removing/{id}-{n} ──► nothing
//! ```
//!
//! Removing a tree with millions of entries takes minutes, longer than any caller waits. So the tree is
//! first renamed out of `programs`, in one step. Without this, a removal whose caller gave up would go on
//! and remove the files of the next program with the same id.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_base::locked::locked;
use hersh_program::ProgramId;

use super::{Storage, StorageError, durable::sync_folder, remove::remove_tree};

/// The trees that are being removed now; clones share one set. Each tree is removed by one thread: if two
/// did it, one would miss what the other had removed, and report a failure although the tree is gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Removals {
    fn paths(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        locked(&self.0)
    }

    /// Removes a tree, unless another thread is removing it already.
    fn carry_out(&self, path: &Path) -> Result<(), StorageError> {
        if !self.paths().insert(path.to_owned()) {
            return Ok(());
        }
        let removed = remove_tree(path).map_err(StorageError::at("remove", path));
        self.paths().remove(path);
        removed
    }
}

impl Storage {
    /// Removes everything that is stored of the program, whatever it left in its state folder. Succeeds if
    /// nothing is stored.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed. If the tree was already renamed out of `programs`,
    /// the next call or [`Storage::finish_removals`] removes the rest.
    pub fn remove(&self, program: &ProgramId) -> Result<(), StorageError> {
        let root = self.paths(program).root;
        let mut number = 0_u64;
        loop {
            let target = self.removing().join(format!("{program}-{number}"));
            // A folder that another removal has just emptied could be replaced by the rename.
            if self.removals.paths().contains(&target) {
                number += 1;
                continue;
            }
            match fs::rename(&root, target) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                // An earlier removal was cut short and left this folder. There are finitely many of them.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => number += 1,
                Err(error) => return Err(StorageError::at("remove", &root)(error)),
            }
        }
        sync_folder(&self.data_dir().join("programs"))?;
        self.empty_removing(|of| of == program.as_str())
    }

    /// Removes the trees that were left by removals that were cut short.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be removed.
    pub fn finish_removals(&self) -> Result<(), StorageError> {
        self.empty_removing(|_any| true)
    }

    fn removing(&self) -> PathBuf {
        self.data_dir().join("removing")
    }

    fn empty_removing(&self, is_chosen: impl Fn(&str) -> bool) -> Result<(), StorageError> {
        let removing = self.removing();
        let failed = StorageError::at("list", &removing);
        for entry in fs::read_dir(&removing).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let program = name.and_then(|name| name.rsplit_once('-'));
            if program.is_some_and(|(program, _number)| is_chosen(program)) {
                self.removals.carry_out(&path)?;
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
        // What a removal leaves that was cut short after its first step.
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
    fn a_removal_leaves_a_tree_to_the_one_that_is_at_it() {
        let (_folder, storage) = storage();
        let id = ProgramId::parse("shop").unwrap();
        let held = storage.removing().join("shop-0");
        fs::create_dir(&held).unwrap();
        storage.removals.paths().insert(held.clone());
        let paths = storage.ensure_folders(&id).unwrap();
        storage.remove(&id).unwrap();
        storage.finish_removals().unwrap();
        assert!(held.exists() && !paths.root.exists());
        assert_eq!(left(&storage), 1);
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
        // The folder `shop-2-0` belongs to another program, `shop-2`, and stays.
        assert_eq!(left(&storage), 1);
        storage.remove(&id).unwrap();
    }
}
