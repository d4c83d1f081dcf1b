//! Removes trees that may hold anything.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat},
    io::Errno,
};

/// How many levels a removal descends, with one open folder for each. A folder that lies deeper is moved up
/// first: otherwise a program could nest folders until the host runs out of file descriptors or stack.
const DEPTH: usize = 32;

/// Removes a tree without following links out of it: all work is relative to open folders. Succeeds if
/// there is nothing at `path`. Nobody else may write to the tree meanwhile.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match open_folder(CWD, parent) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let root = match open_folder(&parent, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Ok(unlinkat(&parent, name, AtFlags::empty())?);
        }
        Err(error) => return Err(error.into()),
    };
    empty_whole(&root)?;
    Ok(unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
}

/// Like [`remove_tree`], but keeps the folder itself, because a full disk has no space for a new one.
pub(super) fn empty_folder(path: &Path) -> io::Result<()> {
    match open_folder(CWD, path) {
        Ok(folder) => empty_whole(&folder),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn empty_whole(root: &OwnedFd) -> io::Result<()> {
    let mut moved = 0;
    while empty(root, root, DEPTH, &mut moved)? {}
    Ok(())
}

/// Empties `folder`. Returns true if a deep folder was moved to `root`, so that another round is needed.
fn empty(root: &OwnedFd, folder: &OwnedFd, depth: usize, moved: &mut u64) -> io::Result<bool> {
    let mut again = false;
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    for name in names {
        let kind =
            FileType::from_raw_mode(statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        if kind != FileType::Directory {
            unlinkat(folder, &name, AtFlags::empty())?;
        } else if depth == 0 {
            *moved += 1;
            move_up(root, folder, &name, *moved)?;
            again = true;
        } else {
            let child = open_folder(folder, &name)?;
            again |= empty(root, &child, depth - 1, moved)?;
            drop(child);
            unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(again)
}

/// Moves `folder/name` into `root` under a name that is free there.
fn move_up(root: &OwnedFd, folder: &OwnedFd, name: &CString, number: u64) -> io::Result<()> {
    // The rename fails if a folder with content has the name. Then the loop tries another name. It ends,
    // because a folder holds finitely many names.
    let mut attempt = 0_u64;
    loop {
        let target = format!(".hersh-removing-{number}-{attempt}");
        match renameat(folder, name, root, target) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn open_folder(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(
        at,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
