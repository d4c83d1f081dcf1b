//! One tree as it is written, entry by entry: every rule about what may be in it, and its name.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use hersh_program::BuildId;
use sha2::{Digest, Sha256};

use super::{
    SourceLimits, StorageError,
    error::{SourceError, is_disk_full},
};

/// What stands at a path. Kept in memory, so that every rule is decided before the disk is
/// touched, and nothing on the disk can mislead it.
enum Node {
    Folder,
    File {
        executable: bool,
        size_bytes: u64,
        digest: [u8; 32],
    },
    Link {
        target: String,
    },
}

/// A tree being written below `root`, which nobody else writes to.
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

    /// The bounds that this tree keeps.
    pub(super) fn limits(&self) -> SourceLimits {
        self.limits
    }

    /// Adds a folder; one that is there already stays.
    pub(super) fn add_folder(&mut self, entry: &str) -> Result<(), SourceError> {
        let path = self.clean(entry)?;
        self.folder(entry, &path)
    }

    /// Adds a file of exactly `size_bytes` from `content`.
    pub(super) fn add_file(
        &mut self,
        entry: &str,
        executable: bool,
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
        let digest = write_file(&self.root.join(&path), executable, size_bytes, content)?;
        let node = Node::File {
            executable,
            size_bytes,
            digest,
        };
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Adds a copy of the file at `of`, which must be in the tree already: what a hard link in an
    /// archive stands for.
    pub(super) fn add_copy(&mut self, entry: &str, of: &str) -> Result<(), SourceError> {
        let outside = |_| {
            refused(
                entry,
                "it is a hard link to a path that is not in the source",
            )
        };
        let original = self.clean(of).map_err(outside)?;
        let Some(Node::File {
            executable,
            size_bytes,
            ..
        }) = self.nodes.get(&original)
        else {
            return Err(refused(
                entry,
                "it is a hard link to something that is not a file earlier in the archive",
            ));
        };
        let (executable, size_bytes) = (*executable, *size_bytes);
        let path = self.root.join(&original);
        let mut content = fs::File::open(&path).map_err(failed("read", &path))?;
        self.add_file(entry, executable, size_bytes, &mut content)
    }

    /// Adds a symbolic link.
    pub(super) fn add_link(&mut self, entry: &str, target: &str) -> Result<(), SourceError> {
        let path = self.vacant(entry)?;
        if !stays_inside(&path, target) {
            return Err(refused(
                entry,
                "it is a link that leaves the source tree; make it relative, with '..' only at its start",
            ));
        }
        let place = self.root.join(&path);
        symlink(target, &place).map_err(failed("write", &place))?;
        let target = target.to_owned();
        self.nodes.insert(path, Node::Link { target });
        Ok(())
    }

    /// Checks the whole, makes it durable and names it.
    ///
    /// The name is the start of a SHA-256 over all entries sorted by path: kind, path, and for a
    /// file its executable bit, length and the SHA-256 of its content, for a link its target.
    /// Every text goes in with its length, so no two trees give the same input.
    pub(super) fn finish(self) -> Result<BuildId, SourceError> {
        if !matches!(self.nodes.get("Dockerfile"), Some(Node::File { .. })) {
            return Err(SourceError::MissingDockerfile);
        }
        fs::File::open(&self.root)
            .and_then(|folder| Ok(rustix::fs::syncfs(&folder)?))
            .map_err(failed("sync", &self.root))?;
        let mut hash = Sha256::new();
        hash.update(b"hersh source tree 1\0");
        for (path, node) in &self.nodes {
            match node {
                Node::Folder => {
                    hash.update(b"d");
                    framed(&mut hash, path);
                }
                Node::File {
                    executable,
                    size_bytes,
                    digest,
                } => {
                    hash.update(if *executable { b"x" } else { b"f" });
                    framed(&mut hash, path);
                    hash.update(size_bytes.to_be_bytes());
                    hash.update(digest);
                }
                Node::Link { target } => {
                    hash.update(b"l");
                    framed(&mut hash, path);
                    framed(&mut hash, target);
                }
            }
        }
        let hex: String = hash.finalize()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        BuildId::parse(&format!("build-{hex}")).map_err(|error| SourceError::Unreadable {
            message: error.to_string(),
        })
    }

    /// The path of a new entry, with the folders above it made.
    fn vacant(&mut self, entry: &str) -> Result<String, SourceError> {
        let path = self.clean(entry)?;
        if path.is_empty() {
            return Err(refused(entry, "it names the source tree itself"));
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

    /// Makes the folder at a clean path and those above it.
    fn folder(&mut self, entry: &str, path: &str) -> Result<(), SourceError> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            let folder = &path[..end];
            match self.nodes.get(folder) {
                Some(Node::Folder) => {}
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
                    self.nodes.insert(folder.to_owned(), Node::Folder);
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

    /// The path without `.` components and doubled slashes; empty for the root itself.
    fn clean(&self, entry: &str) -> Result<String, SourceError> {
        if entry.starts_with('/') {
            return Err(refused(entry, "its path is absolute; make it relative"));
        }
        if entry.len() > self.limits.path_bytes {
            return Err(refused(entry, "its path is too long"));
        }
        let parts: Vec<&str> = entry
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.contains(&"..") {
            return Err(refused(entry, "its path contains '..'"));
        }
        if parts.len() > self.limits.depth {
            return Err(refused(entry, "its path has too many folders"));
        }
        if parts.iter().any(|part| part.len() > 255) {
            return Err(refused(
                entry,
                "a name in its path is longer than 255 bytes",
            ));
        }
        if entry.contains('\0') {
            return Err(refused(entry, "its path contains a zero byte"));
        }
        Ok(parts.join("/"))
    }
}

/// True when `target`, followed from the folder of `link`, can't leave the tree.
///
/// `..` counts at the start only, where the folders gone up are real ones: `a/..` could leave
/// through an `a` that is itself a link to a shallower place. Going down, each link met on the way
/// keeps the same rule, so by induction the whole way stays inside.
fn stays_inside(link: &str, target: &str) -> bool {
    let depth = link.matches('/').count();
    let mut up = 0;
    let mut down = false;
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if down => return false,
            ".." => up += 1,
            _name => down = true,
        }
    }
    up <= depth
}

fn write_file(
    place: &Path,
    executable: bool,
    size_bytes: u64,
    content: &mut dyn Read,
) -> Result<[u8; 32], SourceError> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if executable { 0o755 } else { 0o644 })
        .open(place)
        .map_err(failed("write", place))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size_bytes;
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let count = match content.read(&mut buffer[..room]) {
            Ok(0) => return Err(unreadable("it ends in the middle of a file")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count])
            .map_err(failed("write", place))?;
        left -= u64::try_from(count).unwrap_or(left);
    }
    Ok(hash.finalize().into())
}

/// For `map_err`: the failure of `action` on `path`, with a full disk told by name.
pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    move |error| {
        if is_disk_full(&error) {
            // The data folder says more to a person than a path in staging that is gone.
            let path = path.ancestors().find(|path| path.ends_with("staging"));
            SourceError::DiskFull {
                path: path
                    .and_then(Path::parent)
                    .unwrap_or(Path::new("the data folder"))
                    .to_owned(),
            }
        } else {
            StorageError::at(action, &path)(error).into()
        }
    }
}

pub(super) fn unreadable(message: impl ToString) -> SourceError {
    SourceError::Unreadable {
        message: message.to_string(),
    }
}

pub(super) fn refused(entry: &str, reason: &'static str) -> SourceError {
    SourceError::Refused {
        entry: shown(entry),
        reason,
    }
}

fn framed(hash: &mut Sha256, text: &str) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(text.as_bytes());
}

fn shown(entry: &str) -> String {
    entry.chars().take(200).collect()
}
