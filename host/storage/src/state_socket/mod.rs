//! The socket on which a program without a network listens. The socket is a file in the program's own
//! `/state`, so a hostile program can put anything in its place, such as a link to another socket of the
//! machine.

mod full_queue;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat, unlinkat},
    io::Errno,
};

use hersh_base::{
    endpoint::{Dial, DialError, DialFuture, Endpoint, EndpointStream},
    sandbox::{SANDBOX_ID, SOCKET_NAME},
};
use hersh_program::ProgramId;
use tokio::net::UnixStream;

use crate::Storage;
use full_queue::FullQueue;

/// Why the host can't connect to a program's socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is no socket.
    #[error("it does not listen on $HERSH_WATCHER_SOCKET (yet)")]
    Absent,
    /// Something else is in the socket's place.
    #[error(
        "{SOCKET_NAME} in its state folder is {0}, which is not followed; it must be a socket that the program itself made"
    )]
    Refused(&'static str),
    /// Nobody listens on the socket.
    #[error("connect to its socket: {0}")]
    Silent(#[source] io::Error),
    /// The file system or the kernel refused an operation.
    #[error("its socket could not be opened: {0}")]
    Failed(#[source] io::Error),
}

impl Storage {
    /// Returns the endpoint of a program without a network: the socket in its state folder.
    #[must_use]
    pub fn state_socket(&self, program: &ProgramId) -> Endpoint {
        Endpoint::by(StateSocket {
            state: self.paths(program).state,
            full_queue: FullQueue::default(),
        })
    }

    /// Removes the socket that an earlier instance left in a program's state folder. Otherwise the next
    /// instance could not listen, since gVisor lets no instance remove a socket that another one made.
    /// Anything else in the socket's place stays.
    ///
    /// # Errors
    /// [`SocketError::Failed`] with what the file system said.
    pub fn remove_state_socket(&self, program: &ProgramId) -> Result<(), SocketError> {
        remove_socket(&self.paths(program).state)
    }
}

/// The socket in a state folder.
struct StateSocket {
    state: PathBuf,
    /// The callers that found the socket's queue of connections full. One of them at a time tries again.
    full_queue: FullQueue,
}

impl Dial for StateSocket {
    /// Connects to the socket and ignores the port. Retries without end while the socket's queue is full.
    fn dial(&self, _port: u16) -> DialFuture<'_> {
        Box::pin(async move {
            let socket = open_socket(&self.state).map_err(no_way)?;
            // Connects through the descriptor, since the name may stand for something else by now. The
            // path of a descriptor is also short enough for a socket's address, wherever the data folder
            // is.
            let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
            let connect = || UnixStream::connect(path.clone());
            let connected = self.full_queue.connect(connect).await;
            let stream = connected.map_err(SocketError::Silent).map_err(no_way)?;
            Ok(EndpointStream::Unix(stream))
        })
    }
}

fn no_way(error: SocketError) -> DialError {
    DialError::NoWay {
        message: error.to_string(),
    }
}

/// Opens the socket in a program's state folder. The descriptor stands for that one file, so a program
/// that replaces the name afterwards changes nothing.
///
/// # Errors
/// [`SocketError`] when there is no socket, or when a link, another kind of file or a file of another
/// user is in its place.
fn open_socket(state: &Path) -> Result<OwnedFd, SocketError> {
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

fn remove_socket(state: &Path) -> Result<(), SocketError> {
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

        // Another socket of the machine, such as the engine's, must not be reached by a link of either
        // kind.
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
