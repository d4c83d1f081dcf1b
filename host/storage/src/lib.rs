//! The host's folders. All calls block: use them from a blocking thread.
//!
//! ```text
//! {data}/staging/{n}                      a source tree that is not stored yet; emptied at open
//! {data}/fetched-images.json              base images that builds had fetched
//! {data}/removing/{id}-{n}/               folders that are being removed; emptied after the start
//! {data}/set-aside/{id}-{ms}/             folders with state of programs that the host does not know
//! {data}/programs/{id}/src/{build_id}/    stored source trees; in these, only the manifest ever changes
//!                      meta/              receipt.json, state-writer.json
//!                      state/             the program's /state, owned by the sandbox's user
//!                      logs/              output of the program and of its builds
//!                      runtime/           files that the runtime keeps for the program
//! ```
//!
//! A source tree is stored whole or not at all: it is staged beside the programs, checked against
//! [`SourceLimits`] while it is read, named by its content, and renamed to its final path.
//!
//! Other crates decide what a program is, whether it runs and who may have its files. This crate only has
//! a folder for each program id, and stores evidence of starts as it is given.

mod archive;
mod archive_check;
mod attributes;
mod bound;
mod builds;
mod durable;
mod end_note;
mod error;
mod limits;
mod named_files;
mod names;
pub mod output;
mod paths;
mod records;
mod removal;
mod remove;
mod source;
mod state_copy;
mod state_file;
mod state_socket;
mod state_writer;
mod tar_stream;
mod tree;
mod tree_files;
mod unknown_folders;
mod unpacked_size;
mod usage;
mod write;

pub use builds::StoredBuild;
pub use end_note::EndNote;
pub use error::{SourceError, StorageError};
pub use limits::SourceLimits;
pub use named_files::{added_files, tree_bytes};
pub use names::{BUILD_DOCKERFILE, DOCKERFILE, MANIFEST};
pub use source::StagedSource;
pub use state_copy::{CopyBounds, StateCopy, StateCopyError};
pub use state_file::{STATE_FILE_BYTES_MAX, StateFileError};
pub use state_socket::SocketError;
pub use state_writer::StateWriterError;
pub use tar_stream::{SourceTree, TreePurpose, tar_stream};
pub use tree_files::{is_plain_file, read_inside};
pub use unknown_folders::set_file_aside;
pub use unpacked_size::{MeasureError, unpacked_bytes};

use std::{
    fs,
    io::Read,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::Arc,
};

use hersh_base::sandbox::{SANDBOX_ID, StateUsage};
use hersh_program::{BuildId, ProgramId};

use self::{
    durable::{make_private, set_mode},
    removal::Removals,
};

/// The folders of one program. They are built only from a parsed id, so no path leaves the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramPaths {
    /// The program's folder, parent of all others.
    pub root: PathBuf,
    /// The stored source trees, one folder for each build id.
    pub src: PathBuf,
    /// The host's notes about the program.
    pub meta: PathBuf,
    /// The program's `/state`.
    pub state: PathBuf,
    /// The output of the program and of its builds.
    pub logs: PathBuf,
    /// Files that the runtime keeps for the program.
    pub runtime: PathBuf,
}

/// The data folder of a host.
#[derive(Clone, Debug)]
pub struct Storage {
    data: PathBuf,
    /// The lock on the staging folder. It is held while any clone lives, so that no other process removes
    /// uploads as leftovers.
    _lock: Arc<fs::File>,
    removals: Removals,
}

impl Storage {
    /// Opens the data folder, makes it if it is not there, and removes what interrupted uploads left.
    ///
    /// # Errors
    /// [`StorageError`] when a folder can't be made or read.
    pub fn open(data_dir: &Path) -> Result<Self, StorageError> {
        make_private(data_dir)?;
        let data = fs::canonicalize(data_dir).map_err(StorageError::at("open", data_dir))?;
        let lock_path = data.join("staging.lock");
        let lock = fs::File::create(&lock_path).map_err(StorageError::at("make", &lock_path))?;
        // If the lock is taken, another host uses this folder, and its uploads are no leftovers.
        // Another check decides whether two hosts may use one folder.
        let is_alone = lock.try_lock().is_ok();
        let storage = Self {
            data,
            _lock: Arc::new(lock),
            removals: Removals::default(),
        };
        let staging = storage.staging();
        if is_alone {
            remove::empty_folder(&staging).map_err(StorageError::at("clean", &staging))?;
        }
        make_private(&staging)?;
        make_private(&storage.data.join("programs"))?;
        // It is made now, because a removal could not make it on a full disk.
        make_private(&storage.data.join("removing"))?;
        Ok(storage)
    }

    /// Returns the path of the data folder, absolute and without links.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Returns the paths of the program's folders, whether or not they exist.
    #[must_use]
    pub fn paths(&self, program: &ProgramId) -> ProgramPaths {
        let root = self.data.join("programs").join(program.as_str());
        ProgramPaths {
            src: root.join("src"),
            meta: root.join("meta"),
            state: root.join("state"),
            logs: root.join("logs"),
            runtime: root.join("runtime"),
            root,
        }
    }

    /// Returns the path of a stored source tree, whether or not it exists.
    #[must_use]
    pub fn source_path(&self, program: &ProgramId, build: &BuildId) -> PathBuf {
        self.paths(program).src.join(build.as_str())
    }

    /// Returns the path of the log of a build, whether or not it exists.
    #[must_use]
    pub fn build_log_path(&self, program: &ProgramId, build: &BuildId) -> PathBuf {
        self.paths(program).logs.join(format!("{build}.log"))
    }

    /// Makes the program's folders. Folders that exist keep their content. `state` is given to the
    /// sandbox's user, mode 0750.
    ///
    /// # Errors
    /// [`StorageError`] naming the folder.
    pub fn ensure_folders(&self, program: &ProgramId) -> Result<ProgramPaths, StorageError> {
        let paths = self.paths(program);
        for folder in [
            &paths.root,
            &paths.src,
            &paths.meta,
            &paths.state,
            &paths.logs,
            &paths.runtime,
        ] {
            make_private(folder)?;
        }
        let owner = Some(SANDBOX_ID);
        chown(&paths.state, owner, owner)
            .map_err(StorageError::at("give to the sandbox's user", &paths.state))?;
        set_mode(&paths.state, 0o750)?;
        Ok(paths)
    }

    /// Reads a tar stream (plain, gzip or zstd, told apart by its first bytes) into staging.
    ///
    /// # Errors
    /// [`SourceError`]; nothing of the stream is left in staging then.
    pub fn stage_archive(
        &self,
        archive: impl Read,
        limits: SourceLimits,
    ) -> Result<StagedSource, SourceError> {
        StagedSource::from_archive(&self.staging(), archive, limits)
    }

    /// Writes files, given by relative path and text, into staging.
    ///
    /// # Errors
    /// [`SourceError`]; nothing of the files is left in staging then.
    pub fn stage_files<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        limits: SourceLimits,
    ) -> Result<StagedSource, SourceError> {
        StagedSource::from_files(&self.staging(), files, limits)
    }

    /// Returns how many bytes the program's `/state` holds. Counting stops above `enough` bytes.
    ///
    /// # Errors
    /// [`StorageError`] when a folder can't be read.
    pub fn state_usage(
        &self,
        program: &ProgramId,
        enough: u64,
    ) -> Result<StateUsage, StorageError> {
        let state = self.paths(program).state;
        usage::measure(&state, enough).map_err(StorageError::at("measure", &state))
    }

    /// Returns the parent folder of all programs' folders.
    #[must_use]
    pub fn programs_dir(&self) -> PathBuf {
        self.data.join("programs")
    }

    /// Returns the ids of all programs that have a folder, sorted.
    ///
    /// # Errors
    /// [`StorageError`] when the folder can't be read.
    pub fn programs(&self) -> Result<Vec<ProgramId>, StorageError> {
        let folder = self.data.join("programs");
        let failed = StorageError::at("list", &folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            found.extend(name.to_str().and_then(|name| ProgramId::parse(name).ok()));
        }
        found.sort();
        Ok(found)
    }

    fn staging(&self) -> PathBuf {
        self.data.join("staging")
    }
}
