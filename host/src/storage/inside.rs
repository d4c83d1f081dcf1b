//! Reading files of a source tree by name. Links in it are a stranger's data: one is followed only
//! as long as it stays in the tree, which the kernel itself sees to.

use std::{fs, io, io::Read, path::Path};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat2},
    io::Errno,
};

/// Opens the file at `path` below `root`.
fn open_file(root: &Path, path: &str) -> io::Result<fs::File> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(root, folder, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
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

/// Whether there is a file at `path` below `root`, or a link to one that is below it too.
pub(super) fn is_file(root: &Path, path: &str) -> bool {
    open_file(root, path).is_ok()
}

/// The first `bytes_max` bytes of the file at `path` below `root`.
///
/// # Errors
/// What the file system said; [`io::ErrorKind::NotFound`] when there is nothing. A link that leads
/// out of the tree is not followed.
pub(crate) fn read_inside(root: &Path, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    open_file(root, path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
