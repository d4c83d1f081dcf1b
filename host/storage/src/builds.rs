//! The source trees of a program, and the logs of their builds.

use std::{fs, path::Path};

use hersh_program::{BuildId, ProgramId};

use super::{
    StagedSource, Storage, StorageError,
    durable::{make_private, sync_folder},
    remove,
};

/// A stored source tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBuild {
    /// The build id that names it.
    pub id: BuildId,
    /// When its build last wrote to its log, milliseconds since the Unix epoch; `None` if it was
    /// never built.
    pub logged_at_ms: Option<u64>,
}

impl Storage {
    /// Moves a staged tree to the program's stored source trees, and returns its build id. If a tree with
    /// this id is stored already, it stays, and only its manifest, which no build sees, is replaced.
    ///
    /// # Errors
    /// [`StorageError`]; nothing of the staged tree is left in staging then.
    pub fn commit(
        &self,
        program: &ProgramId,
        staged: StagedSource,
    ) -> Result<BuildId, StorageError> {
        let paths = self.paths(program);
        make_private(&paths.root)?;
        make_private(&paths.src)?;
        let build = staged.build_id().clone();
        let target = paths.src.join(build.as_str());
        staged
            .move_to(&target)
            .map_err(StorageError::at("store", &target))?;
        sync_folder(&target)?;
        sync_folder(&paths.src)?;
        Ok(build)
    }

    /// Removes all stored source trees of the program except `kept`, with the logs of their builds.
    ///
    /// # Errors
    /// [`StorageError`] naming what could not be read or removed.
    pub fn retain_builds(&self, program: &ProgramId, kept: &[BuildId]) -> Result<(), StorageError> {
        let src = self.paths(program).src;
        let failed = StorageError::at("list", &src);
        for entry in fs::read_dir(&src).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            if !kept.iter().any(|build| name == build.as_str()) {
                let tree = src.join(name);
                remove::remove_tree(&tree).map_err(StorageError::at("remove", &tree))?;
                let log = tree
                    .file_name()
                    .and_then(|name| BuildId::parse(name.to_str()?).ok());
                if let Some(log) = log.map(|build| self.build_log_path(program, &build)) {
                    remove::remove_tree(&log).map_err(StorageError::at("remove", &log))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the program's stored source trees: first the trees that were never built, then the others,
    /// newest build first.
    ///
    /// # Errors
    /// [`StorageError`] when the folder can't be read.
    pub fn builds(&self, program: &ProgramId) -> Result<Vec<StoredBuild>, StorageError> {
        let src = self.paths(program).src;
        let failed = StorageError::at("list", &src);
        let mut found = Vec::new();
        for entry in fs::read_dir(&src).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            let Some(id) = name.to_str().and_then(|name| BuildId::parse(name).ok()) else {
                continue;
            };
            let logged_at_ms = modified_at_ms(&self.build_log_path(program, &id));
            found.push(StoredBuild { id, logged_at_ms });
        }
        found.sort_by_key(|build| std::cmp::Reverse(build.logged_at_ms.unwrap_or(u64::MAX)));
        Ok(found)
    }
}

fn modified_at_ms(path: &Path) -> Option<u64> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}
