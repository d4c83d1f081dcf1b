//! How the host reaches an instance, and the connection to it.
//!
//! A runtime makes an [`Endpoint`] for each instance that runs: by its address, by a socket that it made,
//! or by whatever way that runtime has. Nobody else knows which it is.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
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

/// How the host reaches one instance. Clones are the same way.
#[derive(Clone)]
pub struct Endpoint(Arc<dyn Dial>);

/// A connection that is being made.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<EndpointStream, DialError>> + Send + 'a>>;

/// One way to an instance.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` inside; a way that knows no ports ignores it. Sets no time limit.
    fn dial(&self, port: u16) -> Dialing<'_>;
}

/// Why there is no connection to an instance.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody takes connections on the port.
    #[error("connect to port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing came of it in time.
    #[error("connect to port {port}: timed out")]
    Late {
        /// The port that was asked for.
        port: u16,
    },
    /// The way leads nowhere.
    #[error("{message}")]
    NoWay {
        /// What was tried, and what came of it.
        message: String,
    },
}

impl Endpoint {
    /// By the address of its sandbox.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::by(Address(address))
    }

    /// By a runtime's own way.
    pub fn by(way: impl Dial) -> Self {
        Self(Arc::new(way))
    }

    /// Connects to `port` inside. Sets no time limit.
    ///
    /// # Errors
    /// [`DialError`] says what was tried.
    pub async fn dial(&self, port: u16) -> Result<EndpointStream, DialError> {
        self.0.dial(port).await
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

/// The address of a sandbox.
struct Address(IpAddr);

impl Dial for Address {
    fn dial(&self, port: u16) -> Dialing<'_> {
        let failed = move |source| DialError::Port { port, source };
        Box::pin(async move {
            let stream = TcpStream::connect(SocketAddr::new(self.0, port))
                .await
                .map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            Ok(EndpointStream::Tcp(stream))
        })
    }
}

/// A connection to an instance.
#[derive(Debug)]
pub enum EndpointStream {
    /// By the network of its sandbox.
    Tcp(TcpStream),
    /// By a socket that it made.
    Unix(UnixStream),
}

impl EndpointStream {
    /// Returns whether no bytes wait to be read and the peer has not closed. Asks the kernel, which knows before
    /// the reactor does.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let descriptor = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(descriptor, &mut [0; 1], flags).is_err_and(|error| error == Errno::AGAIN)
    }
}

impl AsyncRead for EndpointStream {
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

impl AsyncWrite for EndpointStream {
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
