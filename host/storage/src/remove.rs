//! Removal of trees that may hold anything.

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

/// How deep removal descends with an open folder for each level. What lies deeper is moved up
/// first, so nesting that a program made costs neither file descriptors nor stack.
const DEPTH: usize = 32;

/// Removes a tree without following links out of it: all work is relative to open folders.
/// Nothing there is a success. Nobody else may be writing to the tree.
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

/// Removes what is in a folder and keeps the folder: on a full disk no other could be made. Else as
/// [`remove_tree`].
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

/// Empties `folder`; true when something deep was moved to `root` and another round is due.
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
    // A name that is taken by a folder with content fails, so the loop passes those; each try
    // takes another name and a folder holds finitely many.
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
