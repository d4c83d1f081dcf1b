//! Accepts connections and serves the router over HTTP/1.1, with every wait and buffer bounded.
//!
//! ```text
//! accept ──► permits (of all, of the peer, in an I/O thread) ──► TLS handshake ──► requests, each with its client
//! ```

mod client;
mod connection_limits;
mod head_timer;
mod linger;

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hersh_base::pace::PacedStream;
use hersh_proxy::io_threads::IoThreads;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use self::{
    connection_limits::ConnectionLimits,
    head_timer::HeadTimer,
    linger::{CountedBody, LingeringStream, UnreadFlag},
};
use crate::{metrics::ConnectionMetrics, tls::Tls};

pub(crate) use self::client::ClientConnection;

/// Connections at once, streams included. The next one waits in the kernel's queue.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;

const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The HTTP library itself takes at most 100 headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The longest time that a client may keep an answer waiting, less the time that the bytes it takes pay for
/// at the least pace: a person may read a page of a log meanwhile.
const WRITE_PATIENCE: Duration = Duration::from_secs(300);
/// How long requests under way may go on after the host was asked to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed accept (no file descriptors left, say) before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The scheme by which a client reaches this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The client that sent a request, and how. Every request carries it as an extension.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) scheme: Scheme,
    pub(crate) connection: ClientConnection,
}

impl Client {
    /// Returns the client as programs are told of it.
    pub(crate) fn as_told(&self) -> hersh_proxy::Client {
        hersh_proxy::Client {
            address: self.address.ip(),
            scheme: self.scheme.as_str(),
        }
    }
}

/// Answers the requests of connections.
pub(crate) trait RequestHandler: Send + Sync + 'static {
    /// Answers one request of `client`.
    fn answer(
        self: Arc<Self>,
        request: Request,
        client: Client,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send;
}

/// The parts between the listener and the router.
pub(crate) struct Acceptor {
    /// This host's end of TLS, if it has one.
    pub(crate) tls: Option<Tls>,
    /// True if something in front of this host ends TLS.
    pub(crate) behind_tls_proxy: bool,
    pub(crate) metrics: ConnectionMetrics,
    /// The threads that carry connections.
    pub(crate) io_threads: IoThreads,
}

impl Acceptor {
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() || self.behind_tls_proxy {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }
}

/// Serves until `stop` resolves, then lets requests under way finish for a while.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    handler: impl RequestHandler,
    stop: impl Future<Output = ()>,
) {
    let handler = Arc::new(handler);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connection_limits = ConnectionLimits::new(acceptor.behind_tls_proxy);
    let mut connections = JoinSet::new();
    let (drain, draining) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, peer, slot)) = accepted else {
            return;
        };
        let Some(address_permit) = connection_limits.enter(peer.ip()) else {
            tracing::debug!(%peer, "connection refused: this peer has too many");
            acceptor.metrics.turned_away();
            continue;
        };
        let permit = acceptor.io_threads.enter();
        let io_thread = permit.handle().clone();
        let connection = Connection {
            peer,
            scheme: acceptor.scheme(),
            behind_proxy: acceptor.behind_tls_proxy,
            handler: Arc::clone(&handler),
            draining: draining.clone(),
            connection: ClientConnection::new((
                slot,
                address_permit,
                acceptor.metrics.opened(),
                permit,
            )),
        };
        let tls = acceptor.tls.clone();
        connections.spawn_on(connection.run(stream, tls), &io_thread);
    }
    drop(drain);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::info!("requests still under way were cut off");
    }
}

struct Connection<H> {
    peer: SocketAddr,
    scheme: Scheme,
    behind_proxy: bool,
    handler: Arc<H>,
    draining: watch::Receiver<()>,
    /// The client's connection, with its permits among all connections, among its peer's and in its I/O
    /// thread.
    connection: ClientConnection,
}

impl<H: RequestHandler> Connection<H> {
    async fn run(self, stream: std::net::TcpStream, tls: Option<Tls>) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(peer = %self.peer, %error, "connection could not be carried");
                return;
            }
        };
        let Some(tls) = tls else {
            return self.talk(stream).await;
        };
        match tls.accept(stream).await {
            Ok(stream) => self.talk(stream).await,
            Err(error) => tracing::debug!(peer = %self.peer, %error, "no TLS handshake"),
        }
    }

    async fn talk(mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let unread = UnreadFlag::default();
        let stream = PacedStream::new(LingeringStream::new(stream, unread.clone()), WRITE_PATIENCE);
        let (peer, scheme, handler) = (self.peer, self.scheme, self.handler);
        let held = self.connection.clone();
        let behind_proxy = self.behind_proxy;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let address = if behind_proxy {
                connection_limits::forwarded_for(request.headers())
                    .map_or(peer, |ip| (ip, 0).into())
            } else {
                peer
            };
            let request = request.map(|body| {
                if body.is_end_stream() {
                    Body::empty()
                } else {
                    Body::new(CountedBody::new(body, &unread))
                }
            });
            let client = Client {
                address,
                scheme,
                connection: held.clone(),
            };
            Arc::clone(&handler).answer(request, client)
        });
        let connection = http1::Builder::new()
            .timer(HeadTimer::new(HEADER_READ_TIMEOUT))
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_header_size(HEADER_BYTES_MAX)
            // One buffer and a plain send: gathering small pieces costs more than to copy them.
            .writev(false)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.connection.over() => {
                tracing::debug!(%peer, "connection cut: what was open on it is over");
                return;
            }
            _ = self.draining.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }
}

type Accepted = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    // The semaphore is never closed, so a permit always comes.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    loop {
        let accepted = listener.accept().await;
        // The stream leaves this tokio runtime's reactor, so that the I/O thread's reactor can take it.
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return Some((stream, peer, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
