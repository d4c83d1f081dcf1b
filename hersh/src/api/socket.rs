//! A Unix socket's file: made for its owner only, replaced when stale, removed at the end.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::StartError;

/// Connections that the system lets wait while the server is busy.
const BACKLOG: u32 = 1024;

/// The file of a socket that is listened on. Dropping this value removes the file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode of the file: a file that somebody else put there since then is not removed.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Returns the path of the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // An error is ignored: nobody is left to tell, and the next start replaces a stale
            // file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`.
///
/// # Errors
/// [`StartError::ListenSocket`] when the path is in use, is no socket, or cannot be written.
pub(super) async fn listen(path: &Path) -> Result<(UnixListener, SocketFile), StartError> {
    let failed = |problem: String| StartError::ListenSocket {
        path: path.into(),
        problem,
    };
    let system =
        |error: io::Error| failed(format!("{error}; choose a short path in a writable folder"));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(metadata) => clear(path, &metadata).await.map_err(failed)?,
    }
    let socket = UnixSocket::new_stream().map_err(system)?;
    socket.bind(path).map_err(system)?;
    let file = SocketFile {
        path: path.into(),
        identity: identity(path),
    };
    // The permissions are set before the socket listens: until then nobody can connect. A file
    // system without permissions is no reason not to serve.
    let _ = fs::set_permissions(path, Permissions::from_mode(0o600));
    let listener = socket.listen(BACKLOG).map_err(system)?;
    Ok((listener, file))
}

/// Removes a socket that no process listens on.
async fn clear(path: &Path, metadata: &Metadata) -> Result<(), String> {
    if !metadata.file_type().is_socket() {
        return Err("the file is no socket; choose another path or move it away".into());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("a stale socket is there: {error}; remove it")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A full backlog, or a socket of another user, is in use as well.
        Ok(_) | Err(_) => Err("another process uses it; stop that or choose another path".into()),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
