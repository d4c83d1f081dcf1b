//! The reverse proxy: the only way to a program.
//!
//! ```text
//! client ──► authorised route ──► path and framing checked ──► headers by allow-list ──► program
//!        ◄── body streamed    ◄── headers by allow-list    ◄── answer, or 502 / 503 / 504 by code
//! ```
//!
//! A program is hostile until shown otherwise: it never sees a credential, can't set a cookie or
//! redirect on the host's origin, and what it serves is rendered by browsers in a sandbox of its
//! own. A slow one holds a bounded number of requests, each for a bounded time, never the host.
//! Whoever waits for the program drives the connection to it, so that a request costs no task and
//! its end is the end of everything done for it.

mod download;
mod error;
mod headers;
mod link;
mod path;
mod request;
mod tunnel;
mod upstream;
mod websocket;

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use hyper::{StatusCode, Version, body::Incoming, upgrade::OnUpgrade};
use tokio::sync::OwnedSemaphorePermit;

use self::{
    download::Held,
    link::{AskError, Link, Waiting},
    request::{Asked, Upload},
    tunnel::{Ends, Tunnel},
    websocket::Handshake,
};
pub(crate) use self::{
    error::ForwardError,
    path::{PathError, watcher_path},
    upstream::{InFlight, Upstream},
};

use crate::{
    auth::Grant,
    seats::{Seats, TUNNELS_MAX},
    server::Client,
};

/// Bytes of a request's body. Messages are small; a WatcherAPI takes 64 KiB.
pub(crate) const REQUEST_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Requests that one program may have in flight, streams and tunnels included.
pub(crate) const IN_FLIGHT_MAX: usize = 256;

/// How long the proxy waits for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a connection to the program.
    pub(crate) connect: Duration,
    /// For the whole of a request's body.
    pub(crate) upload: Duration,
    /// For the head of the program's answer, once it has the whole request.
    pub(crate) answer: Duration,
    /// For the next piece of an answer's body, or the next byte in a tunnel.
    pub(crate) idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            upload: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(120),
        }
    }
}

/// Forwards requests to programs; clones share its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    patience: Patience,
    tunnels: Seats,
}

impl Default for Proxy {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl Proxy {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            tunnels: Seats::new(TUNNELS_MAX),
        }
    }

    /// Forwards `request` to the program behind `upstream`. `path` comes from [`watcher_path`].
    /// What is still under way when `grant` is over ends.
    ///
    /// # Errors
    /// [`ForwardError`]; the program may have seen part of the request then.
    pub(crate) async fn forward(
        &self,
        request: Request,
        path: &str,
        upstream: &Arc<Upstream>,
        client: Option<Client>,
        grant: Grant,
    ) -> Result<Response, ForwardError> {
        let (mut parts, body) = request.into_parts();
        request::check(&parts)?;
        let handshake = websocket::asked(&parts, !body.is_end_stream())?;
        let permit = upstream.permit()?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let asked = Asked {
            parts: &parts,
            path,
            authority: upstream.authority(),
            client,
            handshake: handshake.as_ref().map(Handshake::headers),
        };
        let (mut answer, link) = self.ask(&asked, Upload::new(body), upstream).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let unasked = || ForwardError::Broken("it answered 101 to a plain request".into());
            let handshake = handshake.ok_or_else(unasked)?;
            let upgrade = upgrade.ok_or(ForwardError::Upgrade("this connection can't switch"))?;
            let ends = Ends {
                program: upstream.ended().clone(),
                grant,
                idle: self.patience.idle,
            };
            let open = self.open(&handshake, answer, link, upgrade, ends, permit);
            return Box::pin(open).await;
        }
        let headers = headers::toward_client(answer.headers(), &parts.method);
        *answer.headers_mut() = headers;
        *answer.version_mut() = Version::HTTP_11;
        // Among them is the program's own text for the status.
        answer.extensions_mut().clear();
        let held = Held {
            link,
            upstream: Arc::clone(upstream),
            grant: Some(grant),
            _permit: permit,
        };
        Ok(download::stream(answer, held, self.patience.idle))
    }

    /// Asks over a connection that waits, or a new one when none does or the program closed it.
    async fn ask(
        &self,
        asked: &Asked<'_>,
        upload: Upload,
        upstream: &Upstream,
    ) -> Result<(hyper::Response<Incoming>, Link), ForwardError> {
        let progress = upload.progress();
        let may_ask_again = asked.is_safe() && hyper::body::Body::is_end_stream(&upload);
        let mut request = asked.request(upload)?;
        let mut pooled = upstream.take();
        // Each turn uses up one of the connections that wait, or makes a new one.
        loop {
            let is_new = pooled.is_none();
            let link = match pooled.take() {
                Some(link) => link,
                // Boxed as everything that is rare, so that a request is small.
                None => Box::pin(Link::dial(upstream.place(), self.patience.connect)).await?,
            };
            let waiting = Waiting {
                progress: progress.clone(),
                patience: &self.patience,
                ended: upstream.ended(),
            };
            match link.ask(request, waiting).await {
                Ok(answered) => return Ok(answered),
                Err(AskError::Unsent(back)) if !is_new => {
                    request = *back;
                    pooled = upstream.take();
                }
                Err(AskError::Stale(_)) if may_ask_again => {
                    request = asked.request(Upload::empty())?;
                }
                Err(AskError::Unsent(_)) => {
                    let message = "it closed the connection at once".to_owned();
                    return Err(ForwardError::Broken(message));
                }
                Err(AskError::Stale(error) | AskError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Opens the tunnel of a handshake that the program has answered.
    async fn open(
        &self,
        handshake: &Handshake,
        answer: hyper::Response<Incoming>,
        link: Link,
        client: OnUpgrade,
        ends: Ends,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response, ForwardError> {
        let headers = handshake
            .confirm(answer.headers())
            .map_err(|what| ForwardError::Broken(what.into()))?;
        let seat = self.tunnels.take(ends.grant.user());
        let seat = seat.ok_or(ForwardError::TunnelsBusy)?;
        let (program, early) = link.into_wire().await;
        let tunnel = Tunnel {
            client,
            program,
            early,
            ends,
        };
        tokio::spawn(async move {
            tunnel.run().await;
            drop((permit, seat));
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
