//! Streams a source tree as a tar, which is never whole in memory.

use std::{
    fs, io,
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use hersh_wire::{IGNORE_BYTES_MAX, Ignore};
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use super::{
    attributes::{Attributes, FAITHFUL_MODE},
    names::{BUILD_DOCKERFILE, DOCKERFILE, IGNORE, MANIFEST},
    tree_files::read_inside,
};

/// The most pieces that wait for the receiver.
const PIECES: usize = 8;
/// The size of a piece, bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The mode of all folders when [`TreePurpose::Modes`] sets one mode for all files.
const FOLDER_MODE: u32 = 0o755;

/// The purpose for which a tree is sent.
pub enum TreePurpose {
    /// Keeping: all of the tree is sent.
    Keep,
    /// A build by the Dockerfile in `text`, which is sent at [`BUILD_DOCKERFILE`]. `COPY` sees the same
    /// files as with Docker: a Dockerfile of the tree only if `.dockerignore` does not name it. It never
    /// sees the manifest.
    Build {
        /// The text of the Dockerfile that the host made.
        text: String,
        /// The path in the tree of the Dockerfile that `text` was made from.
        path: String,
    },
    /// A source of copies during a build. Every file has the mode `mode`, and files that `COPY` can't see
    /// are left out as well.
    Modes {
        /// The mode of every file.
        mode: u32,
        /// The path of the Dockerfile in the tree.
        path: String,
    },
}

/// A stored tree that is open. All of it is read through the open folder. If it were read by path and the
/// program were removed, a slow reader would get the tree of the next program with the same name.
pub struct SourceTree(OwnedFd);

impl SourceTree {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// The error of the file system; [`io::ErrorKind::NotFound`] when there is no such folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Returns a path that leads to the open folder, whatever is renamed or removed meanwhile. Without the
    /// dot at its end, a call that follows no links would see only a link and not the folder.
    fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.0.as_raw_fd()))
    }
}

/// Streams the tree that `open` returns, with modes and times as they came in and without owners. The
/// same stored tree gives the same bytes. A failure to open or read ends the stream with an error, which
/// ends the build. A thread waits for the receiver of the stream, however slow it is; `held` is dropped
/// when the thread is done.
pub fn tar_stream(
    open: impl FnOnce() -> io::Result<SourceTree> + Send + 'static,
    purpose: TreePurpose,
    held: impl Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces {
            sender: sender.clone(),
            piece: Vec::with_capacity(PIECE_BYTES),
            is_cut: false,
        };
        let sent = open().and_then(|tree| send(&tree.root(), &purpose, &mut pieces));
        if let Err(error) = sent {
            // Sending fails only if the receiver was dropped, because the build is over.
            let _ = sender.blocking_send(Err(error));
        }
        drop(held);
    });
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

fn send(root: &Path, purpose: &TreePurpose, out: &mut Pieces) -> io::Result<()> {
    // Clients send the Dockerfiles even if `.dockerignore` names them, because the host needs them.
    let own = |path| {
        [DOCKERFILE, path]
            .into_iter()
            .filter(|it| is_ignored(root, it))
    };
    let hidden: Vec<&str> = match purpose {
        TreePurpose::Keep => Vec::new(),
        TreePurpose::Build { path, .. } | TreePurpose::Modes { path, .. } => {
            [MANIFEST, IGNORE, BUILD_DOCKERFILE]
                .into_iter()
                .chain(own(path))
                .collect()
        }
    };
    let mut archive = tar::Builder::new(&mut *out);
    let mode = match purpose {
        TreePurpose::Keep | TreePurpose::Build { .. } => None,
        TreePurpose::Modes { mode, .. } => Some(*mode),
    };
    let written = write_tree(root, &hidden, mode, &mut archive).and_then(|()| match purpose {
        TreePurpose::Keep | TreePurpose::Modes { .. } => Ok(()),
        TreePurpose::Build { text, .. } => write_own(text, &mut archive),
    });
    if let Err(error) = written {
        // Dropping the builder would write the end of the archive, as if the tree were complete.
        archive.get_mut().is_cut = true;
        return Err(error);
    }
    archive.into_inner()?.flush()
}

/// Returns whether the tree's `.dockerignore` names the file. A `.dockerignore` that can't be read names
/// nothing: it was checked when the tree came in.
fn is_ignored(root: &Path, path: &str) -> bool {
    let Ok(bytes) = read_inside(root, IGNORE, IGNORE_BYTES_MAX) else {
        return false;
    };
    Ignore::read(&String::from_utf8_lossy(&bytes)).is_ok_and(|ignore| ignore.is_ignored(path))
}

/// Writes the host's own Dockerfile, and a `.dockerignore` of the host's own that makes the engine remove
/// both before it copies anything. The engine does not get the tree's own patterns: it would compile each
/// of them before the build begins, without a bound.
fn write_own(dockerfile: &str, archive: &mut tar::Builder<&mut Pieces>) -> io::Result<()> {
    let patterns = format!("{BUILD_DOCKERFILE}\n{IGNORE}\n");
    for (path, text) in [(BUILD_DOCKERFILE, dockerfile), (IGNORE, &patterns)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    Ok(())
}

fn write_tree(
    root: &Path,
    hidden: &[&str],
    mode: Option<u32>,
    archive: &mut tar::Builder<&mut Pieces>,
) -> io::Result<()> {
    let root_mode = fs::symlink_metadata(root)?.permissions().mode() & 0o7777;
    let is_faithful = root_mode == FAITHFUL_MODE;
    // The folders still to be read: not too many, because the number of entries of a stored tree is bounded.
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let mut names = fs::read_dir(root.join(&folder))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let path = folder.join(name);
            if hidden.iter().any(|hidden| path == Path::new(hidden)) {
                continue;
            }
            let place = root.join(&path);
            let metadata = fs::symlink_metadata(&place)?;
            let attributes = Attributes::stored(&metadata, is_faithful);
            let mut header = tar::Header::new_gnu();
            header.set_mode(attributes.mode());
            header.set_mtime(attributes.modified_s());
            header.set_size(0);
            if metadata.is_dir() {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(mode.map_or(attributes.mode(), |_| FOLDER_MODE));
                archive.append_data(&mut header, path.join(""), io::empty())?;
                waiting.push(path);
            } else if metadata.is_symlink() {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive.append_link(&mut header, &path, fs::read_link(&place)?)?;
            } else {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(mode.unwrap_or(attributes.mode()));
                header.set_size(metadata.len());
                archive.append_data(&mut header, &path, fs::File::open(&place)?)?;
            }
        }
    }
    Ok(())
}

/// A writer that sends full pieces, and blocks while [`PIECES`] of them wait for the receiver.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    /// Whether sending has failed: nothing more is sent then.
    is_cut: bool,
}

impl Write for &mut Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = PIECE_BYTES - self.piece.len();
        let count = room.min(bytes.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            (*self).flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

impl Pieces {
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender
            .blocking_send(Ok(full.into()))
            .map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn archive(root: &Path, purpose: TreePurpose) -> Vec<u8> {
        let root = root.to_owned();
        let stream = tar_stream(move || SourceTree::open(&root), purpose, ());
        let pieces: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        pieces.concat()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        let path = |entry: io::Result<tar::Entry<_>>| entry.unwrap().path().unwrap().into_owned();
        let names = entries.map(path);
        names.map(|it| it.display().to_string()).collect()
    }

    fn build() -> TreePurpose {
        build_by(DOCKERFILE)
    }

    fn build_by(path: &str) -> TreePurpose {
        TreePurpose::Build {
            text: "FROM scratch".into(),
            path: path.into(),
        }
    }

    #[tokio::test]
    async fn a_build_sees_neither_manifest_nor_what_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["Dockerfile", "d/.dockerignore", "d/hersh.toml", MANIFEST] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::write(folder.path().join(IGNORE), "# nothing\n").unwrap();
        let own = [BUILD_DOCKERFILE, IGNORE];
        let below = ["d/.dockerignore", "d/hersh.toml"];
        let all = [&[IGNORE, DOCKERFILE, "d/", MANIFEST][..], &below].concat();
        assert_eq!(names(&archive(folder.path(), TreePurpose::Keep).await), all);
        let seen = [&[DOCKERFILE, "d/"], &below[..], &own].concat();
        assert_eq!(names(&archive(folder.path(), build()).await), seen);
        fs::write(folder.path().join(IGNORE), "*\n!d\n").unwrap();
        let seen = [&["d/"], &below[..], &own].concat();
        assert_eq!(names(&archive(folder.path(), build()).await), seen);
        // A build does not see another Dockerfile either if `.dockerignore` names it, although it is sent.
        fs::write(folder.path().join("d/own"), "x").unwrap();
        fs::write(folder.path().join(IGNORE), "d/own\nDockerfile\n").unwrap();
        assert_eq!(
            names(&archive(folder.path(), build_by("d/own")).await),
            seen
        );
        let sent = names(&archive(folder.path(), TreePurpose::Keep).await);
        assert!(sent.contains(&"d/own".to_owned()), "{sent:?}");
    }

    #[tokio::test]
    async fn a_mode_is_for_files_and_not_for_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["d/x", MANIFEST, IGNORE, BUILD_DOCKERFILE] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join("d"), private).unwrap();
        let bytes = archive(
            folder.path(),
            TreePurpose::Modes {
                mode: 0o4_500,
                path: DOCKERFILE.into(),
            },
        )
        .await;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap();
        let modes = entries.map(|entry| entry.unwrap().header().mode().unwrap());
        assert_eq!(modes.collect::<Vec<u32>>(), [0o755, 0o4_500]);
        assert_eq!(names(&bytes), ["d/", "d/x"]);
    }

    #[tokio::test]
    async fn a_tree_that_can_not_be_read_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        let stream = tar_stream(move || SourceTree::open(&nowhere), TreePurpose::Keep, ());
        let pieces: Vec<io::Result<Bytes>> = stream.collect().await;
        assert!(pieces.len() == 1 && pieces[0].is_err(), "{pieces:?}");
    }

    #[tokio::test]
    async fn a_tree_in_its_place_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("tree"), folder.path().join("aside"));
        let make = |content: &str| {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("Dockerfile"), content).unwrap();
        };
        make("first");
        let tree = SourceTree::open(&path).unwrap();
        fs::rename(&path, &aside).unwrap();
        make("second");
        let stream = tar_stream(move || Ok(tree), TreePurpose::Keep, ());
        let pieces: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        let all = String::from_utf8_lossy(&pieces.concat()).into_owned();
        assert!(all.contains("first") && !all.contains("second"), "{all}");
    }

    #[tokio::test]
    async fn trees_of_older_hosts_keep_their_plain_modes() {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &str, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path().join(path), mode).unwrap();
        };
        fs::write(folder.path().join("file"), "x").unwrap();
        fs::write(folder.path().join("run"), "x").unwrap();
        set("file", 0o600);
        set("run", 0o700);
        let modes = async || -> Vec<u32> {
            let bytes = archive(folder.path(), TreePurpose::Keep).await;
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entries = archive.entries().unwrap();
            entries
                .map(|entry| entry.unwrap().header().mode().unwrap())
                .collect()
        };
        assert_eq!(modes().await, [0o644, 0o755]);
        set("", FAITHFUL_MODE);
        assert_eq!(modes().await, [0o600, 0o700]);
    }
}
