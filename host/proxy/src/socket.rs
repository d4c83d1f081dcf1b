//! The socket on which a program without a network listens: a file in its own `/state`, and so
//! one that the program can put anything in place of.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat, unlinkat},
    io::Errno,
};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};

/// Why a program's socket is not connected to.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is none.
    #[error("it does not listen on $HERSH_WATCHER_SOCKET (yet)")]
    Absent,
    /// Something else is in its place.
    #[error(
        "{SOCKET_NAME} in its state folder is {0}, which is not followed; it must be a socket that the program itself made"
    )]
    Refused(&'static str),
    /// The file system or the kernel said no.
    #[error("its socket could not be opened: {0}")]
    Failed(#[source] io::Error),
}

/// Opens the socket in a program's state folder. The descriptor stands for that one file: what
/// happens to the name afterwards changes nothing.
///
/// # Errors
/// [`SocketError`]: absent, or a link, another kind of file, or somebody else's.
pub(crate) fn open_socket(state: &Path) -> Result<OwnedFd, SocketError> {
    let folder = open_folder(state)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    let socket =
        openat2(&folder, SOCKET_NAME, flags, Mode::empty(), resolve).map_err(
            |error| match error {
                Errno::NOENT => SocketError::Absent,
                Errno::LOOP => SocketError::Refused("a symbolic link"),
                Errno::XDEV => SocketError::Refused("a mount"),
                Errno::NOSYS => SocketError::Failed(io::Error::other(
                    "openat2 is missing: mode none needs Linux 5.6 or newer",
                )),
                error => SocketError::Failed(error.into()),
            },
        )?;
    let found = fstat(&socket).map_err(failed)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(SocketError::Refused("no socket"));
    }
    if found.st_uid != SANDBOX_ID {
        return Err(SocketError::Refused("somebody else's"));
    }
    Ok(socket)
}

/// Removes the socket that an earlier run left in a program's state folder: gVisor lets no program
/// remove one that it did not make itself. Whatever else is there stays.
///
/// # Errors
/// [`SocketError::Failed`] with what the file system said.
pub fn remove_socket(state: &Path) -> Result<(), SocketError> {
    let folder = open_folder(state)?;
    match statat(&folder, SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Socket => {
            unlinkat(folder.as_fd(), SOCKET_NAME, AtFlags::empty()).map_err(failed)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn open_folder(state: &Path) -> Result<OwnedFd, SocketError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(state, flags, Mode::empty()).map_err(failed)
}

fn failed(error: Errno) -> SocketError {
    SocketError::Failed(error.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{
            fs::{chown, symlink},
            net::UnixListener,
        },
    };

    use super::*;

    fn listen(path: &Path) -> UnixListener {
        let listener = UnixListener::bind(path).unwrap();
        chown(path, Some(SANDBOX_ID), Some(SANDBOX_ID)).unwrap();
        listener
    }

    #[test]
    fn only_a_socket_of_the_programs_own_is_opened() {
        let state = tempfile::tempdir().unwrap();
        let (state, path) = (state.path(), state.path().join(SOCKET_NAME));
        let refused = || match open_socket(state) {
            Err(SocketError::Refused(what)) => what,
            other => panic!("{other:?}"),
        };
        assert!(matches!(open_socket(state), Err(SocketError::Absent)));

        let _own = listen(&path);
        assert!(open_socket(state).is_ok());
        chown(&path, Some(0), Some(0)).unwrap();
        assert_eq!(refused(), "somebody else's");

        // Any other socket, the engine's say, by a link of either kind or through a folder.
        fs::remove_file(&path).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        let _other = listen(&target);
        symlink(&target, &path).unwrap();
        assert_eq!(refused(), "a symbolic link");
        fs::remove_file(&path).unwrap();
        symlink("/proc/self/fd/0", &path).unwrap();
        assert_eq!(refused(), "a symbolic link");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refused(), "no socket");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "x").unwrap();
        assert_eq!(refused(), "no socket");
    }

    #[test]
    fn a_stale_socket_goes_and_anything_else_stays() {
        let state = tempfile::tempdir().unwrap();
        let (state, path) = (state.path(), state.path().join(SOCKET_NAME));
        remove_socket(state).unwrap();
        drop(listen(&path));
        remove_socket(state).unwrap();
        assert!(!path.exists());
        fs::write(&path, "kept").unwrap();
        remove_socket(state).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
        fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        remove_socket(state).unwrap();
        assert!(fs::symlink_metadata(&path).is_ok());
    }
}
