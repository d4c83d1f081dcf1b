//! The way from the host to an instance, and the connection to the instance.
//!
//! A runtime makes an [`Endpoint`] for each instance that runs. The way can be the address of the
//! sandbox, a socket that the instance made, or any other way of that runtime. The code that uses an
//! endpoint does not know which of them it is.

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

/// The way from the host to one instance. Clones lead to the same instance.
#[derive(Clone)]
pub struct Endpoint(Arc<dyn Dial>);

/// A connection that is being made.
pub type DialFuture<'a> =
    Pin<Box<dyn Future<Output = Result<EndpointStream, DialError>> + Send + 'a>>;

/// One way to an instance.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` inside the instance; a way that knows no ports ignores `port`. Sets no time
    /// limit, so the caller has to: a hostile program can leave a connection waiting forever.
    fn dial(&self, port: u16) -> DialFuture<'_>;
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
    /// No connection was made in time.
    #[error("connect to port {port}: timed out")]
    Late {
        /// The port that was asked for.
        port: u16,
    },
    /// The way to the instance does not work.
    #[error("{message}")]
    NoWay {
        /// What was tried, and how it failed.
        message: String,
    },
}

impl Endpoint {
    /// Returns an endpoint that connects to the address of the instance's sandbox.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::by(Address(address))
    }

    /// Returns an endpoint that connects in a runtime's own way.
    pub fn by(way: impl Dial) -> Self {
        Self(Arc::new(way))
    }

    /// Connects to `port` inside the instance. Sets no time limit, so the caller has to.
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
    fn dial(&self, port: u16) -> DialFuture<'_> {
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
    /// A connection over the network of the instance's sandbox.
    Tcp(TcpStream),
    /// A connection over a socket that the instance made.
    Unix(UnixStream),
}

impl EndpointStream {
    /// Returns whether no bytes wait to be read and the peer has not closed. Asks the kernel, which knows
    /// before the reactor does.
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
