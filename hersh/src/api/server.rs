//! The HTTP server: bounded in connections, headers, bodies and time.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use super::clients;
use super::listeners::{Listeners, Stream};
use super::routes::router;
use super::settings::Settings;
use super::state::Api;
use crate::shared::Shared;

/// Most bytes of a request's head, and of what is read ahead.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
/// Most headers of a request.
const HEADER_LIMIT: usize = 64;
/// How long a request's head may take, and how long a connection may stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in progress may take once the watcher is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server as the watcher's handle holds it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: Option<SocketAddr>,
    /// Closes when the server has closed.
    open: watch::Receiver<()>,
}

impl Server {
    /// Returns the TCP address that the server listens on, if it listens on one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until the server's port and socket are free again.
    pub(crate) async fn closed(&self) {
        let mut open = self.open.clone();
        while open.changed().await.is_ok() {}
    }
}

/// What each connection needs.
#[derive(Clone)]
struct ConnectionParts {
    api: Arc<Api>,
    router: Router,
    write_timeout: Duration,
    closing: watch::Receiver<()>,
}

/// Serves until the watcher is over.
pub(crate) fn serve(shared: Arc<Shared>, listeners: Listeners, settings: &Settings) -> Server {
    let address = listeners.address();
    let (is_open, open) = watch::channel(());
    let (close, closing) = watch::channel(());
    let (router, api) = router(shared, address.map_or(0, |address| address.port()));
    let serving = ConnectionParts {
        api: api.clone(),
        router,
        write_timeout: settings.write_timeout,
        closing,
    };
    // Every connection holds a permit: all of them back means that all are closed.
    let all = u32::try_from(settings.connection_limit).unwrap_or(u32::MAX);
    let permits = Arc::new(Semaphore::new(all as usize));
    tokio::spawn(clients::tell(api.clone()));
    tokio::spawn(async move {
        tokio::select! {
            _ = api.shared.ended() => {}
            () = accept(&listeners, &permits, serving) => {}
        }
        drop(listeners);
        let _ = close.send(());
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, permits.acquire_many(all)).await;
        drop(is_open);
    });
    Server { address, open }
}

/// Accepts connections for ever.
async fn accept(listeners: &Listeners, permits: &Arc<Semaphore>, serving: ConnectionParts) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listeners.accept().await {
            Ok(stream) => {
                let connection = converse(stream, serving.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // The system is out of descriptors, or the peer is gone already: neither ends the
            // server.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection until it ends or the server closes.
async fn converse(stream: Stream, mut serving: ConnectionParts) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(serving.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .max_headers(HEADER_LIMIT)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(serving.router),
        );
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = serving.closing.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection).await;
            return;
        }
    };
    // Any other way in which a connection breaks concerns only its peer.
    if result.is_err_and(|error| is_write_timeout(&error)) {
        serving.api.cut_off(serving.write_timeout);
    }
}

/// Returns whether a write timed out. Only writes fail with this error: the time-out of heads is
/// hyper's own.
fn is_write_timeout(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::base::clock::Clock;
    use crate::inbox::Inbox;
    use crate::shared::{LogKind, Logbook};

    fn serving(closing: watch::Receiver<()>) -> ConnectionParts {
        let (clock, inbox) = (Clock::paused(0), Inbox::new(1));
        let shared = Shared::new("x".into(), clock, inbox, Logbook::new(None));
        let (router, api) = router(Arc::new(shared), 0);
        ConnectionParts {
            api,
            router,
            write_timeout: Settings::default().write_timeout,
            closing,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_closed_after_30_s() {
        let (_close, closing) = watch::channel(());
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET /watcher/st").await.unwrap();
        let began = Instant::now();
        converse(Box::new(server), serving(closing)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_of_events_stays_and_shows_that_it_is_alive() {
        let (_close, closing) = watch::channel(());
        let serving = serving(closing);
        let api = serving.api.clone();
        tokio::spawn(clients::tell(api.clone()));
        let (mut client, server) = duplex(4096);
        tokio::spawn(converse(Box::new(server), serving));
        let request = b"GET /watcher/events HTTP/1.0\r\n\r\n";
        client.write_all(request).await.unwrap();
        let began = Instant::now();
        let mut text = String::new();
        while text.matches(": keep-alive\n\n").count() < 10 {
            text.push(client.read_u8().await.unwrap().into());
        }
        assert_eq!(began.elapsed().as_secs(), 150);
        assert_eq!(api.hub.clients(), 1);
        drop(client);
        while api.hub.clients() == 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_for_30_s_is_cut_off_and_noted() {
        let (_close, closing) = watch::channel(());
        let serving = serving(closing);
        let api = serving.api.clone();
        let (mut client, server) = duplex(64);
        let request = b"GET /watcher/status HTTP/1.1\r\nhost: x\r\n\r\n";
        let began = Instant::now();
        let (written, ()) = tokio::join!(
            client.write_all(request),
            converse(Box::new(server), serving)
        );
        written.unwrap();
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(api.cut_off_count(), 1);
        let lines = api.shared.log.newest(LogKind::Reduce, 5);
        let expected = "an API client took no bytes for 30s and was cut off (1 so far)";
        assert_eq!(lines[0].message.as_ref(), expected);
    }
}
