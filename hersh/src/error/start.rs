//! Errors of starting a watcher.

use std::path::PathBuf;

/// Why a watcher did not start. The failed start leaves nothing behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error("{setting} is {value}: {rule}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The value that was given.
        value: String,
        /// What the value should be.
        rule: &'static str,
    },
    /// The API's address cannot be listened on.
    #[error("cannot listen on {address}: {error}; stop what uses the port or choose another")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The error of the system.
        error: String,
    },
    /// The API's Unix socket cannot be listened on.
    #[error("cannot listen on the socket {}: {problem}", path.display())]
    ListenSocket {
        /// The socket's file.
        path: PathBuf,
        /// What is in the way, and what to do.
        problem: String,
    },
    /// The folder of the durable context cannot be used.
    #[error("cannot use the state folder {}: {error}; make it a writable folder", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// The error of the file system.
        error: String,
    },
    /// Another watcher uses the folder.
    #[error("the state folder {} is in use by another watcher; give each its own", path.display())]
    StateDirBusy {
        /// The folder.
        path: PathBuf,
    },
    /// The saved context cannot be understood.
    #[error(
        "cannot read the saved context {}: {message}; mend the file or move it away",
        path.display()
    )]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The folder of the journal cannot be used.
    #[error(
        "cannot record to the journal folder {}: {error}; make it a writable folder of its own",
        path.display()
    )]
    Journal {
        /// The folder.
        path: PathBuf,
        /// The error of the file system.
        error: String,
    },
    /// The engine's thread or runtime could not be made.
    #[error("cannot start the engine's thread: {error}; the system may be out of threads")]
    Thread {
        /// The error of the system.
        error: String,
    },
    /// The API needs a tokio runtime with IO and time around the start.
    #[error("a watcher with an API starts inside a tokio runtime; call start from async code")]
    NoRuntime,
}
