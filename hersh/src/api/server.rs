//! The HTTP server: bounded in connections, headers, bodies and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::routes::router;
use crate::StartError;
use crate::builder::ApiAddress;
use crate::shared::{Milestone, Shared};

/// Most connections at a time; further ones wait to be accepted.
const CONNECTION_LIMIT: usize = 512;
/// Most bytes of a request's head, and of what is read ahead.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
/// Most headers of a request.
const HEADER_LIMIT: usize = 64;
/// How long a request's head may take, and how long a connection may stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in progress may take once the watcher is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server as the watcher's handle holds it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    /// Closes when the server has.
    open: watch::Receiver<()>,
}

impl Server {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until its port is free again.
    pub(crate) async fn closed(&self) {
        let mut open = self.open.clone();
        while open.changed().await.is_ok() {}
    }
}

/// Takes the port, before anything of the watcher runs.
pub(crate) async fn listen(address: &ApiAddress) -> Result<TcpListener, StartError> {
    let address = match address {
        ApiAddress::Socket(address) => *address,
        ApiAddress::Text(text) => text.parse().map_err(|_| StartError::Setting {
            setting: "HERSH_WATCHER_ADDRESS",
            value: format!("{text:?}"),
            rule: "give an address and port, such as 127.0.0.1:8080, or none",
        })?,
    };
    tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
            address,
            error: error.to_string(),
        })
}

/// Serves until the watcher is over. `None` when the listener has no address any more.
pub(crate) fn serve(shared: Arc<Shared>, listener: TcpListener) -> Option<Server> {
    let address = listener.local_addr().ok()?;
    let (is_open, open) = watch::channel(());
    let router = router(shared.clone());
    tokio::spawn(async move {
        let mut milestone = shared.milestone.subscribe();
        let ended = async {
            let over = |at: &Milestone| matches!(at, Milestone::Ended(_));
            let _ = milestone.wait_for(over).await;
        };
        let permits = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let (close, closing) = watch::channel(());
        tokio::select! {
            () = ended => {}
            () = accept(&listener, &router, &permits, &closing) => {}
        }
        drop(listener);
        drop(closing);
        let _ = close.send(());
        // Every connection holds a permit: all of them back means that all are closed.
        let all = u32::try_from(CONNECTION_LIMIT).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, permits.acquire_many(all)).await;
        drop(is_open);
    });
    Some(Server { address, open })
}

/// Accepts connections for ever.
async fn accept(
    listener: &TcpListener,
    router: &Router,
    permits: &Arc<Semaphore>,
    closing: &watch::Receiver<()>,
) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = converse(stream, router.clone(), closing.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Out of descriptors, or a peer that is gone already: neither ends the server.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection until it ends or the server closes.
async fn converse(stream: TcpStream, router: Router, mut closing: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .max_headers(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A connection that breaks concerns only its peer.
        _ = connection.as_mut() => return,
        _ = closing.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection).await;
}
