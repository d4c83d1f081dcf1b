//! How much a folder holds that somebody else writes to.

use std::{
    collections::VecDeque,
    ffi::{CString, OsStr},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat},
    io::Errno,
};

/// The least that an entry counts, bytes: an empty file costs room too, and this bounds how many
/// entries are looked at.
const ENTRY_BYTES: u64 = 4_096;

/// The deepest folder that is looked into: each is opened from the top, so a look costs as much as
/// there are folders, times how deep they lie.
const DEPTH_MAX: usize = 128;

/// The most that the paths of folders still to be looked at may take, bytes.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// The bytes below `root`, counted until they are more than `enough`. Links are not followed, so
/// nothing outside is counted whatever the writer does meanwhile. A path too long to be opened
/// counts as more than enough, and so do folders too deep or too many to be remembered.
pub(super) fn used_bytes(root: &Path, enough: u64) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat2(CWD, root, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let mut folders = VecDeque::from([CString::from(c".")]);
    let mut used = 0_u64;
    let mut queued_bytes = 0;
    while let Some(path) = folders.pop_front() {
        queued_bytes -= path.count_bytes().min(queued_bytes);
        let folder = match openat2(&root, &path, flags, Mode::empty(), inside) {
            Ok(folder) => folder,
            Err(Errno::NAMETOOLONG) => return Ok(u64::MAX),
            // It went away, or became something else, since it was listed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            used = used.saturating_add(blocks.saturating_mul(512).max(ENTRY_BYTES));
            if used > enough {
                return Ok(used);
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let path = below(&path, name.to_bytes())?;
                queued_bytes += path.count_bytes();
                let depth = path.as_bytes().iter().filter(|byte| **byte == b'/').count();
                if queued_bytes > QUEUE_BYTES_MAX || depth > DEPTH_MAX {
                    return Ok(u64::MAX);
                }
                folders.push_back(path);
            }
        }
    }
    Ok(used)
}

fn below(folder: &CString, name: &[u8]) -> io::Result<CString> {
    let path = Path::new(OsStr::from_bytes(folder.as_bytes())).join(OsStr::from_bytes(name));
    CString::new(path.into_os_string().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn files_count_by_their_blocks_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(folder.path().join("outside"), vec![1; 1 << 20]).unwrap();
        symlink(folder.path(), root.join("a/out")).unwrap();
        symlink("..", root.join("a/b/up")).unwrap();
        let empty = used_bytes(&root, u64::MAX).unwrap();
        assert_eq!(empty, 4 * ENTRY_BYTES, "two folders and two links");
        fs::write(root.join("a/b/file"), vec![1; 100_000]).unwrap();
        let used = used_bytes(&root, u64::MAX).unwrap() - empty;
        assert!((100_000..150_000).contains(&used), "{used}");
    }

    #[test]
    fn counting_ends_once_it_is_enough_and_many_empty_files_are_too_much() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..1_000 {
            fs::write(root.path().join(n.to_string()), "").unwrap();
        }
        let used = used_bytes(root.path(), 100 * ENTRY_BYTES).unwrap();
        assert_eq!(used, 101 * ENTRY_BYTES);
    }

    #[test]
    fn folders_too_many_to_be_remembered_are_too_much() {
        let root = tempfile::tempdir().unwrap();
        let name = "d".repeat(250);
        let mut at = rustix::fs::open(root.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..14 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        for n in 0..6_000 {
            rustix::fs::mkdirat(&at, n.to_string(), Mode::RWXU).unwrap();
        }
        assert_eq!(used_bytes(root.path(), 1 << 40).unwrap(), u64::MAX);
    }

    #[test]
    fn folders_too_deep_to_be_looked_into_are_too_much() {
        let root = tempfile::tempdir().unwrap();
        let deepest = root.path().join("d/".repeat(DEPTH_MAX));
        fs::create_dir_all(&deepest).unwrap();
        let used = used_bytes(root.path(), 1 << 30).unwrap();
        assert_eq!(used, DEPTH_MAX as u64 * ENTRY_BYTES);
        fs::create_dir(deepest.join("d")).unwrap();
        assert_eq!(used_bytes(root.path(), 1 << 30).unwrap(), u64::MAX);
    }

    #[test]
    fn nesting_deeper_than_a_path_can_say_is_too_much() {
        let root = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut at = rustix::fs::open(root.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..30 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(used_bytes(root.path(), 1 << 30).unwrap(), u64::MAX);
        super::super::remove::remove_tree(root.path()).unwrap();
    }
}
