//! Writes a source tree entry by entry, checks every rule about its entries, and makes its digest.

use std::{collections::BTreeMap, fs, io, io::Read, os::unix::fs::symlink, path::PathBuf};

use sha2::{Digest, Sha256};

use super::{
    SourceLimits,
    attributes::{Attributes, FAITHFUL_MODE},
    error::SourceError,
    names::{MANIFEST, is_reserved},
    paths::{self, refused, shown},
    write::{Floor, failed, write_file},
};

/// The most entries that are synced one by one. For more, the whole file system is synced once, with the
/// data of other writers.
const SYNCED_SINGLY: usize = 100;

/// The longest target of a link, bytes: file systems accept no longer one.
const TARGET_BYTES_MAX: usize = 4_095;

/// The entry at one path. Entries are kept in memory, so that every rule is checked before the disk is
/// touched: files on the disk, such as a link in the tree, can't mislead the check.
enum Node {
    Folder(Attributes),
    File {
        attributes: Attributes,
        size_bytes: u64,
        digest: [u8; 32],
    },
    Link {
        target: String,
        attributes: Attributes,
    },
}

/// A tree that is being written below `root`. Nobody else writes there.
pub(super) struct Tree {
    root: PathBuf,
    limits: SourceLimits,
    nodes: BTreeMap<String, Node>,
    bytes: u64,
}

impl Tree {
    pub(super) fn new(root: PathBuf, limits: SourceLimits) -> Self {
        Self {
            root,
            limits,
            nodes: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Returns the limits of this tree.
    pub(super) fn limits(&self) -> SourceLimits {
        self.limits
    }

    /// Adds a folder; a folder that is there already gets these attributes.
    pub(super) fn add_folder(
        &mut self,
        entry: &str,
        attributes: Attributes,
    ) -> Result<(), SourceError> {
        let path = paths::clean(entry, self.limits)?;
        self.folder(entry, &path)?;
        if let Some(Node::Folder(known)) = self.nodes.get_mut(&path) {
            *known = attributes;
        }
        Ok(())
    }

    /// Adds a file of exactly `size_bytes` from `content`.
    pub(super) fn add_file(
        &mut self,
        entry: &str,
        attributes: Attributes,
        size_bytes: u64,
        content: &mut dyn Read,
    ) -> Result<(), SourceError> {
        let path = self.vacant(entry)?;
        self.bytes = self.bytes.saturating_add(size_bytes);
        if self.bytes > self.limits.total_bytes {
            return Err(SourceError::TooLarge {
                entry: shown(entry),
                limit_bytes: self.limits.total_bytes,
            });
        }
        let place = self.root.join(&path);
        let floor = Floor {
            root: &self.root,
            free_bytes_min: self.limits.free_bytes_min,
        };
        let digest = write_file(&place, attributes, size_bytes, content, floor)?;
        let node = Node::File {
            attributes,
            size_bytes,
            digest,
        };
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Adds a copy of the file or link at `of`, which must be in the tree already. A hard link in an
    /// archive becomes such a copy.
    pub(super) fn add_copy(&mut self, entry: &str, of: &str) -> Result<(), SourceError> {
        let outside = |_| {
            refused(
                entry,
                "it is a hard link to a path that is not in the source",
            )
        };
        let original = paths::clean(of, self.limits).map_err(outside)?;
        match self.nodes.get(&original) {
            Some(Node::File {
                attributes,
                size_bytes,
                ..
            }) => {
                let (attributes, size_bytes) = (*attributes, *size_bytes);
                let path = self.root.join(&original);
                let mut content = fs::File::open(&path).map_err(failed("read", &path))?;
                self.add_file(entry, attributes, size_bytes, &mut content)
            }
            Some(Node::Link { target, attributes }) => {
                let (target, attributes) = (target.clone(), *attributes);
                self.add_link(entry, &target, attributes)
            }
            Some(Node::Folder(_)) | None => Err(refused(
                entry,
                "it is a hard link to something that is not a file earlier in the archive",
            )),
        }
    }

    /// Adds a symbolic link with any target: the link is only data, and the host never follows it out of the
    /// tree.
    pub(super) fn add_link(
        &mut self,
        entry: &str,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), SourceError> {
        let path = self.vacant(entry)?;
        if target.is_empty() || target.len() > TARGET_BYTES_MAX || target.contains(char::is_control)
        {
            let reason =
                "it is a link to a path that is empty, too long or holds control characters";
            return Err(refused(entry, reason));
        }
        let place = self.root.join(&path);
        symlink(target, &place).map_err(failed("write", &place))?;
        let target = target.to_owned();
        self.nodes.insert(path, Node::Link { target, attributes });
        Ok(())
    }

    /// Sets modes and times, syncs the tree, and returns its digest: a SHA-256 over all entries that a build
    /// can see, which are all but the manifest, sorted by path. The input is, for each entry: the kind and
    /// the path; for a folder or file also the permission bits; for a file its length and the hash of its
    /// content; for a link its target. Times are left out, because two copies of the same source have
    /// different ones. Every text goes in with its length, so no two trees give the same input.
    pub(super) fn finish(self) -> Result<[u8; 32], SourceError> {
        self.set_attributes()
            .map_err(failed("set the modes in", &self.root))?;
        self.sync().map_err(failed("sync", &self.root))?;
        let mut hash = Sha256::new();
        hash.update(b"hersh source tree 2\0");
        let built = self.nodes.iter().filter(|(path, _)| *path != MANIFEST);
        for (path, node) in built {
            match node {
                Node::Folder(attributes) => {
                    hash.update(b"d");
                    framed(&mut hash, path);
                    hash.update(attributes.mode().to_be_bytes());
                }
                Node::File {
                    attributes,
                    size_bytes,
                    digest,
                } => {
                    hash.update(b"f");
                    framed(&mut hash, path);
                    hash.update(attributes.mode().to_be_bytes());
                    hash.update(size_bytes.to_be_bytes());
                    hash.update(digest);
                }
                Node::Link { target, .. } => {
                    hash.update(b"l");
                    framed(&mut hash, path);
                    framed(&mut hash, target);
                }
            }
        }
        Ok(hash.finalize().into())
    }

    /// Sets the modes and times of folders and links. This has to wait until the tree is complete: a new
    /// entry changes the time of its folder, and can only be made while the folder's mode allows writing.
    fn set_attributes(&self) -> io::Result<()> {
        for (path, node) in &self.nodes {
            let place = self.root.join(path);
            match node {
                Node::Folder(attributes) => attributes.apply(&fs::File::open(&place)?)?,
                Node::Link { attributes, .. } => attributes.apply_to_link(&place)?,
                Node::File { .. } => {}
            }
        }
        fs::set_permissions(
            &self.root,
            std::os::unix::fs::PermissionsExt::from_mode(FAITHFUL_MODE),
        )
    }

    fn sync(&self) -> io::Result<()> {
        let root = fs::File::open(&self.root)?;
        if self.nodes.len() > SYNCED_SINGLY {
            return Ok(rustix::fs::syncfs(&root)?);
        }
        for (path, node) in &self.nodes {
            match node {
                Node::Folder(_) | Node::File { .. } => {
                    fs::File::open(self.root.join(path))?.sync_all()?;
                }
                // A link is synced with its folder.
                Node::Link { .. } => {}
            }
        }
        root.sync_all()
    }

    /// Returns the clean path of a new entry, and makes the folders above it.
    fn vacant(&mut self, entry: &str) -> Result<String, SourceError> {
        let path = paths::clean(entry, self.limits)?;
        if path.is_empty() {
            return Err(refused(entry, "it names the source tree itself"));
        }
        if is_reserved(&path) {
            return Err(refused(entry, "this name is the host's own; take another"));
        }
        if self.nodes.contains_key(&path) {
            return Err(refused(entry, "this path is there twice"));
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(entry, above)?;
        }
        self.count(entry)?;
        Ok(path)
    }

    /// Makes the folder at a clean path and all folders above it.
    fn folder(&mut self, entry: &str, path: &str) -> Result<(), SourceError> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            let folder = &path[..end];
            match self.nodes.get(folder) {
                Some(Node::Folder(_)) => {}
                Some(Node::File { .. }) => {
                    return Err(refused(entry, "a file stands where it needs a folder"));
                }
                Some(Node::Link { .. }) => {
                    return Err(refused(entry, "it goes through a link"));
                }
                None => {
                    self.count(entry)?;
                    let place = self.root.join(folder);
                    fs::create_dir(&place).map_err(failed("make", &place))?;
                    let node = Node::Folder(Attributes::implied_folder());
                    self.nodes.insert(folder.to_owned(), node);
                }
            }
        }
        Ok(())
    }

    fn count(&self, entry: &str) -> Result<(), SourceError> {
        let used = u64::try_from(self.nodes.len()).unwrap_or(u64::MAX);
        if used < self.limits.entries {
            return Ok(());
        }
        Err(SourceError::TooManyEntries {
            entry: shown(entry),
            limit: self.limits.entries,
        })
    }
}

fn framed(hash: &mut Sha256, text: &str) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(text.as_bytes());
}
