//! Reads files of a source tree by name. A stranger made the links in the tree and could point them at the
//! host's own files, so the kernel follows a link only as long as it stays in the tree.

use std::{
    fs, io,
    io::Read,
    path::{Component, Path},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat2},
    io::Errno,
};

/// Opens the file at `path` below `root`.
fn open_file(root: &Path, path: &str) -> io::Result<fs::File> {
    open_beneath(root, path, ResolveFlags::empty())
}

fn open_beneath(root: &Path, path: &str, also: ResolveFlags) -> io::Result<fs::File> {
    open_by(root, path, ResolveFlags::BENEATH | also)
}

/// Opens the file that the engine finds at `path`. The engine treats the tree as the whole file system, so
/// a link that leads out of the tree leads to another path in it.
pub(super) fn open_as_root(root: &Path, path: &str) -> io::Result<fs::File> {
    open_by(root, path, ResolveFlags::IN_ROOT)
}

fn open_by(root: &Path, path: &str, how: ResolveFlags) -> io::Result<fs::File> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(root, folder, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV | how;
    let opened = openat2(&root, path, flags, Mode::empty(), resolve);
    let file = fs::File::from(opened.map_err(|error| match error {
        Errno::XDEV => io::Error::other("it is a link that leads out of the source"),
        Errno::LOOP => io::Error::other("it is a link that leads nowhere"),
        error => error.into(),
    })?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a file"))
}

/// Returns whether there is a file at `path` below `root`, or a link to a file that is also below `root`.
pub(super) fn is_file(root: &Path, path: &str) -> bool {
    open_file(root, path).is_ok()
}

/// Returns whether there is a plain file at `path` below `root`, with no link in the path. A leading `/`
/// means `root`, because in a Dockerfile the tree is the root.
pub fn is_plain_file(root: &Path, path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let is_down = |it: Component<'_>| matches!(it, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || !Path::new(path).components().all(is_down) {
        return false;
    }
    open_beneath(root, path, ResolveFlags::NO_SYMLINKS).is_ok()
}

/// Returns the first `bytes_max` bytes of the file at `path` below `root`. Does not follow a link that
/// leads out of the tree.
///
/// # Errors
/// The error of the file system; [`io::ErrorKind::NotFound`] when there is no such file.
pub fn read_inside(root: &Path, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    open_file(root, path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_a_tree_lead_nowhere_outside_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        fs::write(root.join("d/file"), "inside").unwrap();
        let outside = folder.path().join("secret");
        for (name, target) in [
            ("up", "../secret"),
            ("absolute", outside.to_str().unwrap()),
            ("process", "/proc/self/environ"),
            ("inside", "d/file"),
            ("folder", "d"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        for name in [
            "up",
            "absolute",
            "process",
            "folder",
            "loop",
            "d",
            "../secret",
            "none",
        ] {
            assert!(read_inside(&root, name, 9).is_err(), "{name}");
            assert!(!is_plain_file(&root, name), "{name}");
        }
        for name in ["d/file", "inside", "folder/file", "d/../d/file"] {
            assert_eq!(read_inside(&root, name, 3).unwrap(), b"ins", "{name}");
        }
        for (name, expected) in [
            ("d/file", true),
            ("/d/./file", true),
            ("inside", false),
            ("folder/file", false),
            ("d/../d/file", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_plain_file(&root, name), expected, "{name}");
        }
    }
}
