//! Source trees on their way in.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use hersh_program::BuildId;

use super::{
    StorageError, archive, error::SourceError, remove::remove_tree, tree::Tree, write::failed,
};

/// Upper bounds on one source tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Sum of all file contents once unpacked, bytes.
    pub total_bytes: u64,
    /// Files, folders and links, those folders included that are only implied by a path.
    pub entries: u64,
    /// Length of one path, bytes.
    pub path_bytes: usize,
    /// Components of one path.
    pub depth: usize,
    /// What must stay free on the disk, bytes; looked at again and again while files are written.
    pub free_bytes_min: u64,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            total_bytes: 1 << 30,
            entries: 10_000,
            path_bytes: 1_024,
            depth: 64,
            free_bytes_min: 0,
        }
    }
}

/// A complete, checked source tree that is not stored yet. Dropping it removes it.
#[derive(Debug)]
pub struct StagedSource {
    dir: PathBuf,
    build: BuildId,
}

impl StagedSource {
    /// The name that its content gives it.
    #[must_use]
    pub fn build_id(&self) -> &BuildId {
        &self.build
    }

    /// Where it is while staged.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn from_archive(
        staging: &Path,
        archive: impl Read,
        limits: SourceLimits,
    ) -> Result<Self, SourceError> {
        Self::fill(staging, limits, |tree| archive::unpack(archive, tree))
    }

    pub(super) fn from_files<'a>(
        staging: &Path,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        limits: SourceLimits,
    ) -> Result<Self, SourceError> {
        Self::fill(staging, limits, |tree| {
            files.into_iter().try_for_each(|(path, text)| {
                let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
                tree.add_file(path, false, size, &mut text.as_bytes())
            })
        })
    }

    /// Renames the tree to `target`. A tree that somebody stored there meanwhile stays: it has
    /// the same content.
    pub(super) fn rename_to(self, target: &Path) -> io::Result<()> {
        match fs::rename(&self.dir, target) {
            Err(_) if target.is_dir() => Ok(()),
            result => result,
        }
    }

    fn fill(
        staging: &Path,
        limits: SourceLimits,
        fill: impl FnOnce(&mut Tree) -> Result<(), SourceError>,
    ) -> Result<Self, SourceError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = staging.join(format!("{}-{number}", std::process::id()));
        // From here on an early return removes what there is.
        let guard = Guard(Some(dir.clone()));
        fs::create_dir(&dir).map_err(failed("make", &dir))?;
        let mut tree = Tree::new(dir, limits);
        fill(&mut tree)?;
        let build = tree.finish()?;
        let dir = guard.keep();
        Ok(Self { dir, build })
    }
}

impl Drop for StagedSource {
    fn drop(&mut self) {
        discard(&self.dir);
    }
}

/// Removes a folder on drop, unless it is kept.
struct Guard(Option<PathBuf>);

impl Guard {
    fn keep(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            discard(dir);
        }
    }
}

fn discard(dir: &Path) {
    if let Err(error) = remove_tree(dir).map_err(StorageError::at("remove", dir)) {
        tracing::warn!(%error, "a staged source tree stays until the host starts again");
    }
}
