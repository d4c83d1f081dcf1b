//! Where the API is reached: a TCP address, a Unix socket, or both.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::settings::{Address, Settings};
use super::socket::{self, SocketFile};
use crate::StartError;

/// One connection, over TCP or over the Unix socket.
pub(super) type Stream = Box<dyn Io>;

/// What a connection can do.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The listeners of the API; at least one of the two is there.
pub(crate) struct Listeners {
    tcp: Option<TcpListener>,
    address: Option<SocketAddr>,
    unix: Option<(UnixListener, SocketFile)>,
}

impl Listeners {
    /// Returns the TCP address, with its real port.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns where the API listens, for people.
    pub(crate) fn places(&self) -> Vec<String> {
        let address = self.address.map(|address| address.to_string());
        let socket = |(_, file): &(_, SocketFile)| format!("the socket {}", file.path().display());
        let socket = self.unix.as_ref().map(socket);
        address.into_iter().chain(socket).collect()
    }

    /// Waits for the next connection and returns it.
    ///
    /// # Errors
    /// When the system is out of descriptors, or the peer is gone already: the next call may
    /// succeed.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        let tcp = async {
            let Some(listener) = &self.tcp else {
                return pending().await;
            };
            let (stream, _) = listener.accept().await?;
            // Answers are small and written whole: waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as Stream)
        };
        let unix = async {
            let Some((listener, _)) = &self.unix else {
                return pending().await;
            };
            let (stream, _) = listener.accept().await?;
            Ok(Box::new(stream) as Stream)
        };
        tokio::select! {
            stream = tcp => stream,
            stream = unix => stream,
        }
    }
}

/// Takes the port and the socket before anything of the watcher runs. Returns `None` when the
/// settings have neither.
///
/// # Errors
/// [`StartError`] that says which one is not free, and what to do.
pub(crate) async fn listen(settings: &Settings) -> Result<Option<Listeners>, StartError> {
    if settings.address.is_none() && settings.socket.is_none() {
        return Ok(None);
    }
    tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    let tcp = match &settings.address {
        None => None,
        Some(address) => Some(bind(address).await?),
    };
    let unix = match &settings.socket {
        None => None,
        Some(path) => Some(socket::listen(path).await?),
    };
    Ok(Some(Listeners {
        address: tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()),
        tcp,
        unix,
    }))
}

async fn bind(address: &Address) -> Result<TcpListener, StartError> {
    let address = match address {
        Address::Socket(address) => *address,
        Address::Text(text) => text.parse().map_err(|_| StartError::Setting {
            setting: "HERSH_WATCHER_ADDRESS",
            value: format!("{text:?}"),
            rule: "give an address and port, such as 127.0.0.1:8080, or none",
        })?,
    };
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
            address,
            error: error.to_string(),
        })
}
