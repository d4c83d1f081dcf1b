//! Source trees in staging, before they are stored.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use hersh_program::{BuildId, BuildRules};
use sha2::{Digest, Sha256};

use super::{
    StorageError, archive,
    attributes::Attributes,
    error::SourceError,
    limits::SourceLimits,
    names::{DOCKERFILE, MANIFEST},
    remove::remove_tree,
    tree::Tree,
    tree_files::{is_file, read_inside},
    write::{failed, unreadable},
};

/// A complete, checked source tree that is not stored yet. Dropping it removes it.
#[derive(Debug)]
pub struct StagedSource {
    dir: PathBuf,
    /// The digest of all that a build can see of the tree.
    digest: [u8; 32],
    build: BuildId,
}

impl StagedSource {
    /// Returns the build id, which is made of the tree's content and its build rules.
    #[must_use]
    pub fn build_id(&self) -> &BuildId {
        &self.build
    }

    /// Returns the same tree, to be built by these rules. Its build id is made of the content and the rules,
    /// as the image is.
    ///
    /// # Errors
    /// [`SourceError`] when the Dockerfile that the rules name is not there.
    pub fn built_by(mut self, rules: &BuildRules) -> Result<Self, SourceError> {
        let dockerfile = rules.recipe.dockerfile.as_deref().unwrap_or(DOCKERFILE);
        if !is_file(&self.dir, dockerfile) {
            let path = dockerfile.to_owned();
            return Err(SourceError::MissingDockerfile { path });
        }
        self.build = name(&self.digest, rules)?;
        Ok(self)
    }

    /// Returns the same tree with a build id of its own, so that there is no image for it yet. `random`
    /// makes the id differ from others.
    ///
    /// # Errors
    /// [`SourceError`] when the id is not valid.
    pub fn anew(mut self, random: u64) -> Result<Self, SourceError> {
        let mut hash = Sha256::new();
        hash.update(self.build.as_str());
        hash.update(random.to_le_bytes());
        self.build = named(hash)?;
        Ok(self)
    }

    /// Returns the first `bytes_max` bytes of the file at `path` in the tree. A link is followed only as long
    /// as it stays in the tree.
    ///
    /// # Errors
    /// The error of the file system; [`io::ErrorKind::NotFound`] when there is no such file.
    pub fn read(&self, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        read_inside(&self.dir, path, bytes_max)
    }

    /// Returns the folder of the tree in staging.
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
                tree.add_file(path, Attributes::plain_file(), size, &mut text.as_bytes())
            })
        })
    }

    /// Renames the tree to `target`. A tree that is already at `target` stays, because it builds the same
    /// image, and gets the manifest of this tree.
    pub(super) fn move_to(self, target: &Path) -> io::Result<()> {
        if !target.is_dir() {
            match fs::rename(&self.dir, target) {
                // Another request stored the same tree meanwhile.
                Err(_) if target.is_dir() => {}
                result => return result,
            }
        }
        let (new, old) = (self.dir.join(MANIFEST), target.join(MANIFEST));
        let moved = match fs::rename(&new, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&old),
            result => result,
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
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
        // From here on, an early return removes the folder.
        let guard = Guard(Some(dir.clone()));
        fs::create_dir(&dir).map_err(failed("make", &dir))?;
        let mut tree = Tree::new(dir, limits);
        fill(&mut tree)?;
        let digest = tree.finish()?;
        let build = name(&digest, &BuildRules::default())?;
        let dir = guard.keep();
        Ok(Self { dir, digest, build })
    }
}

impl Drop for StagedSource {
    fn drop(&mut self) {
        discard(&self.dir);
    }
}

/// Makes the build id for a tree with this digest and these rules.
fn name(digest: &[u8; 32], rules: &BuildRules) -> Result<BuildId, SourceError> {
    let rules = serde_json::to_vec(rules).map_err(unreadable)?;
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update(rules);
    named(hash)
}

fn named(hash: Sha256) -> Result<BuildId, SourceError> {
    let hex: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    BuildId::parse(&format!("build-{hex}")).map_err(unreadable)
}

/// A guard that removes a folder when it is dropped, unless `keep` was called.
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
