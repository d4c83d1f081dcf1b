//! Replaces one file in the `/state` of a program that is not running.
//!
//! The program made all files in its state, so each folder of the path is opened beneath `/state` and
//! through no link: otherwise a link could make the host write outside of it. The new file takes the name
//! of the old one in one step.

use std::{
    fs::File,
    io::{self, Write},
    path::{Component, Path},
};

use hersh_base::sandbox::SANDBOX_ID;
use hersh_base::sandbox::StateUsage;
use hersh_program::ProgramId;
use hersh_wire::ByteSize;
use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, fchown, openat, openat2, renameat,
        unlinkat,
    },
    io::Errno,
};

use super::{Storage, StorageError};

/// The most bytes of one such file.
pub const STATE_FILE_BYTES_MAX: usize = 32 << 20;
/// The longest path below `/state`, bytes.
const PATH_BYTES_MAX: usize = 1_024;

/// Why a file of a state was not replaced. The old file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The path is not a plain path below `/state`.
    #[error("{0:?} is no path below /state: use one such as context.json, without '..'")]
    Path(String),
    /// The folder of the file is not there, or a link leads to it.
    #[error("there is no folder for {0:?} in its /state, or a link leads there")]
    NoFolder(String),
    /// A folder has the name of the file.
    #[error("{0:?} is a folder")]
    IsFolder(String),
    /// The state would hold more than this limit, bytes.
    #[error(
        "its /state would hold more than {}, its limit; remove some of what it keeps, or raise resources.state",
        String::from(ByteSize(*.0))
    )]
    NoRoom(u64),
    /// A folder or file of the host can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// Replaces the file at `path` below the program's `/state`. The new file belongs to the sandbox's user,
    /// mode 0600. The state must not hold more than `bytes_max` with the new file beside the old one. This
    /// is checked here because nothing watches the state while no instance runs. Blocks on the disk.
    ///
    /// # Errors
    /// [`StateFileError`].
    pub fn put_state_file(
        &self,
        program: &ProgramId,
        path: &str,
        content: &[u8],
        bytes_max: u64,
    ) -> Result<(), StateFileError> {
        let is_plain = !path.is_empty()
            && path.len() <= PATH_BYTES_MAX
            && !path.contains('\0')
            && Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        let name = Path::new(path).file_name().filter(|_| is_plain);
        let Some(name) = name else {
            return Err(StateFileError::Path(path.chars().take(100).collect()));
        };
        let above = Path::new(path).parent().unwrap_or(Path::new(""));
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        let state = self.paths(program).state;
        let mut new = name.to_owned();
        new.push(".hersh-new");
        let folder = folder(&state, above).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => {
                StateFileError::NoFolder(path.to_owned())
            }
            error => StorageError::at("open", &state)(error.into()).into(),
        })?;
        let more = u64::try_from(content.len()).unwrap_or(u64::MAX);
        match self.state_usage(program, bytes_max)? {
            StateUsage::Bytes(used) if used.saturating_add(more) <= bytes_max => {}
            StateUsage::Bytes(_) | StateUsage::Unsettled => {
                return Err(StateFileError::NoRoom(bytes_max));
            }
        }
        let written = write(&folder, Path::new(&new), content)
            .and_then(|()| Ok(renameat(&folder, Path::new(&new), &folder, name)?))
            .and_then(|()| File::from(folder.try_clone()?).sync_all());
        written.map_err(|error| {
            // An error here is ignored: the first error matters more, and the next call replaces the file.
            let _ = unlinkat(&folder, Path::new(&new), AtFlags::empty());
            if error.kind() == io::ErrorKind::IsADirectory {
                return StateFileError::IsFolder(path.to_owned());
            }
            StorageError::at("write", &state)(error).into()
        })
    }
}

fn folder(state: &Path, above: &Path) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat2(
        CWD,
        state,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(&root, above, flags, Mode::empty(), inside)
}

fn write(folder: &std::os::fd::OwnedFd, name: &Path, content: &[u8]) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    fchown(
        &file,
        Some(Uid::from_raw(SANDBOX_ID)),
        Some(Gid::from_raw(SANDBOX_ID)),
    )?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn a_file_is_replaced_beneath_state_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let id = ProgramId::parse("counter").unwrap();
        let state = storage.ensure_folders(&id).unwrap().state;
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(state.join("d")).unwrap();
        symlink(&outside, state.join("out")).unwrap();
        symlink(outside.join("file"), state.join("link")).unwrap();

        storage
            .put_state_file(&id, "d/context.json", b"{}", 1 << 20)
            .unwrap();
        let made = fs::metadata(state.join("d/context.json")).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (SANDBOX_ID, 0o600));
        // A link at the path itself is replaced; the file that it led to is unchanged.
        storage.put_state_file(&id, "link", b"x", 1 << 20).unwrap();
        assert!(fs::symlink_metadata(state.join("link")).unwrap().is_file());
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "d/../../x",
            "out/file",
            "none/x",
            "d",
            ".",
        ] {
            let refused = storage.put_state_file(&id, path, b"x", 1 << 20);
            assert!(refused.is_err(), "{path:?}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let left = fs::read_dir(&state)
            .unwrap()
            .map(|it| it.unwrap().file_name());
        assert!(
            !left
                .into_iter()
                .any(|it| it.to_string_lossy().contains("hersh-new"))
        );
    }
}
