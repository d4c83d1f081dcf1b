//! The host's folders. All calls block: use them from a blocking thread.
//!
//! ```text
//! {data}/staging/{n}                      a tree on its way in; emptied at open
//! {data}/fetched-images.json              base images that builds had fetched
//! {data}/removing/{id}-{n}/               what is being removed; emptied after the start
//! {data}/set-aside/{id}-{ms}/             folders with state of programs that nobody knows
//! {data}/programs/{id}/src/{build_id}/    stored source trees; of one that stands only the manifest changes
//!                      meta/              receipt.json
//!                      state/             the program's /state, owned by the sandbox's user
//!                      logs/              output of the program and of its builds
//!                      runtime/           what the runtime keeps for it
//! ```
//!
//! Source comes in whole or not at all: staged beside the programs, checked against
//! [`SourceLimits`] while it is read, named by its content, renamed into place.
//!
//! What a program is, whether it runs and who may have its files are decided elsewhere: here are folders of
//! ids, and evidence that is kept as it was given.

mod added;
mod archive;
mod aside;
mod attributes;
mod bound;
mod builds;
mod durable;
mod end_note;
mod error;
mod inside;
mod limits;
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
mod tar_stream;
mod tree;
mod unpacked;
mod usage;
mod whole;
mod write;

pub use added::{added_files, tree_bytes};
pub use aside::set_file_aside;
pub use builds::StoredBuild;
pub use end_note::EndNote;
pub use error::{SourceError, StorageError};
pub use inside::{is_plain_file, read_inside};
pub use limits::SourceLimits;
pub use names::{BUILD_DOCKERFILE, DOCKERFILE, MANIFEST};
pub use source::StagedSource;
pub use state_copy::{CopyBounds, StateCopy, StateCopyError};
pub use state_file::{STATE_FILE_BYTES_MAX, StateFileError};
pub use state_socket::SocketError;
pub use tar_stream::{Purpose, SourceTree, tar_stream};
pub use unpacked::{MeasureError, unpacked_bytes};

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

/// The folders of one program. Built from a parsed id only, so no path leaves the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramPaths {
    /// The program's folder, parent of all others.
    pub root: PathBuf,
    /// Stored source trees by build id.
    pub src: PathBuf,
    /// What the host knows about it.
    pub meta: PathBuf,
    /// Its `/state`.
    pub state: PathBuf,
    /// Its output and that of its builds.
    pub logs: PathBuf,
    /// What the runtime keeps for it.
    pub runtime: PathBuf,
}

/// Where everything is stored.
#[derive(Clone, Debug)]
pub struct Storage {
    data: PathBuf,
    /// Held while any clone lives, so that no other process takes uploads for leftovers.
    _lock: Arc<fs::File>,
    removals: Removals,
}

impl Storage {
    /// Opens the data folder, makes it if it is not there, and removes what an interrupted
    /// upload left.
    ///
    /// # Errors
    /// [`StorageError`] when a folder can't be made or read.
    pub fn open(data_dir: &Path) -> Result<Self, StorageError> {
        make_private(data_dir)?;
        let data = fs::canonicalize(data_dir).map_err(StorageError::at("open", data_dir))?;
        let lock_path = data.join("staging.lock");
        let lock = fs::File::create(&lock_path).map_err(StorageError::at("make", &lock_path))?;
        // A lock that is taken means that another host lives on this folder and its uploads are
        // no leftovers. Whether two may live there is not decided here.
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
        // Now, since a removal on a full disk could make none.
        make_private(&storage.data.join("removing"))?;
        Ok(storage)
    }

    /// The data folder, absolute and without links.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Where the program's folders are, whether or not they exist.
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

    /// Where a stored source tree is, whether or not it exists.
    #[must_use]
    pub fn source_path(&self, program: &ProgramId, build: &BuildId) -> PathBuf {
        self.paths(program).src.join(build.as_str())
    }

    /// Where the log of a build is, whether or not it exists.
    #[must_use]
    pub fn build_log_path(&self, program: &ProgramId, build: &BuildId) -> PathBuf {
        self.paths(program).logs.join(format!("{build}.log"))
    }

    /// Makes the program's folders. Those that exist stay as they are, except that `state` is
    /// given to the sandbox's user, mode 0750.
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
    /// [`SourceError`]: nothing of it is left.
    pub fn stage_archive(
        &self,
        archive: impl Read,
        limits: SourceLimits,
    ) -> Result<StagedSource, SourceError> {
        StagedSource::from_archive(&self.staging(), archive, limits)
    }

    /// Writes files given by relative path and text into staging.
    ///
    /// # Errors
    /// [`SourceError`]: nothing of them is left.
    pub fn stage_files<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        limits: SourceLimits,
    ) -> Result<StagedSource, SourceError> {
        StagedSource::from_files(&self.staging(), files, limits)
    }

    /// What the program's `/state` holds, counted until that is more than `enough` bytes.
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

    /// Where all programs have their folders.
    #[must_use]
    pub fn programs_dir(&self) -> PathBuf {
        self.data.join("programs")
    }

    /// The ids of all programs that have a folder, sorted.
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
