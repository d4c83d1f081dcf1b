//! Where the host reaches a program, and the connection to it.
//!
//! ```text
//! network internal, egress ──► address, the manifest's port
//! network none             ──► /state/watcher.sock, opened without following links
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

pub use crate::dial::Dials;
use crate::socket::{SocketError, open_socket};

/// Where the host reaches a program.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// On the network of its sandbox.
    Address(IpAddr),
    /// By the socket in this folder, its `/state`: it has no network.
    Socket {
        /// The folder.
        state: PathBuf,
        /// The callers that found the socket's queue full; of these, one at a time tries again.
        dials: Dials,
    },
}

/// Why there is no connection to a program.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens on its port.
    #[error("connect to port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nobody listens on its socket.
    #[error("connect to its socket: {0}")]
    Listener(#[source] io::Error),
    /// It has no socket that may be connected to.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl Endpoint {
    /// By the socket in the folder `state`.
    pub fn socket(state: PathBuf) -> Self {
        let dials = Dials::default();
        Self::Socket { state, dials }
    }

    /// Connects; a socket ignores `port`. Sets no time limit, and retries a full socket queue without end.
    ///
    /// # Errors
    /// [`ConnectError`] says what was tried.
    pub async fn connect(&self, port: u16) -> Result<Wire, ConnectError> {
        match self {
            Self::Address(address) => {
                let failed = |source| ConnectError::Port { port, source };
                let stream = TcpStream::connect(SocketAddr::new(*address, port))
                    .await
                    .map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Ok(Wire::Tcp(stream))
            }
            Self::Socket { state, dials } => {
                let socket = open_socket(state)?;
                // Through the descriptor: the name may stand for something else by now. That is
                // also short enough for a socket's address, wherever the data folder is.
                let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
                let dial = || UnixStream::connect(path.clone());
                let connected = dials.connect(dial).await;
                Ok(Wire::Unix(connected.map_err(ConnectError::Listener)?))
            }
        }
    }
}

/// A connection to a program.
#[derive(Debug)]
pub enum Wire {
    /// Over the network of its sandbox.
    Tcp(TcpStream),
    /// By its socket.
    Unix(UnixStream),
}

impl Wire {
    /// Returns whether no bytes wait to be read and the peer has not closed. Asks the kernel, which knows before
    /// the reactor does.
    pub(crate) fn is_quiet(&self) -> bool {
        let descriptor = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(descriptor, &mut [0; 1], flags).is_err_and(|error| error == Errno::AGAIN)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
