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
mod framing;
mod head;
mod headers;
mod hearing;
mod link;
mod outbox;
mod path;
mod request;
mod tunnel;
mod upload;
mod upstream;
mod websocket;

use std::{mem, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use hyper::{StatusCode, upgrade::OnUpgrade};

#[cfg(any(test, feature = "testkit"))]
pub(crate) use self::hearing::hear_out;
use self::{
    error::AskError,
    head::Said,
    link::Link,
    request::Asked,
    tunnel::{Ends, Tunnel},
    upload::Upload,
    upstream::Permit,
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
    /// `grant` is asked for if more than an answer that is there comes of it, and ends that.
    ///
    /// # Errors
    /// [`ForwardError`]; the program may have seen part of the request then.
    pub(crate) async fn forward(
        &self,
        request: &mut Request,
        path: &str,
        upstream: Arc<Upstream>,
        client: Option<Client>,
        grant: impl FnOnce() -> Grant,
    ) -> Result<Response, ForwardError> {
        request::check(request)?;
        let handshake = websocket::asked(request, !request.body().is_end_stream())?.map(Box::new);
        let permit = upstream.permit()?;
        let upstream = permit.upstream();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let upload = Upload::new(mem::take(request.body_mut()));
        let asked = Asked {
            method: request.method(),
            path,
            query: request.uri().query(),
            headers: request.headers(),
            authority: upstream.authority(),
            client,
            handshake: handshake.as_deref().map(Handshake::headers),
        };
        let (said, link) = self.ask(&asked, upload, upstream).await?;
        match said {
            Said::Answer(head) => {
                let body = download::stream(link, permit, grant, self.patience.idle);
                let mut answer = Response::new(body);
                *answer.status_mut() = head.status;
                // The request's map, which the HTTP library takes for the next request again.
                let mut headers = mem::take(request.headers_mut());
                headers.clear();
                headers.extend(head.headers);
                headers::confine(&mut headers);
                *answer.headers_mut() = headers;
                Ok(answer)
            }
            Said::Switch(switched) => {
                let unasked = || ForwardError::Broken("it answered 101 to a plain request".into());
                let handshake = handshake.ok_or_else(unasked)?;
                let client =
                    upgrade.ok_or(ForwardError::Upgrade("this connection can't switch"))?;
                let headers = handshake
                    .confirm(&switched)
                    .map_err(|what| ForwardError::Broken(what.into()))?;
                let ends = Ends {
                    program: upstream.ended().clone(),
                    grant: grant(),
                    idle: self.patience.idle,
                };
                self.open(link, client, ends, permit)?;
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *answer.headers_mut() = headers;
                Ok(answer)
            }
        }
    }

    /// Asks over a connection that waits, or a new one when none does or the program closed it.
    async fn ask(
        &self,
        asked: &Asked<'_>,
        mut upload: Option<Upload>,
        upstream: &Upstream,
    ) -> Result<(Said, Box<Link>), ForwardError> {
        let may_ask_again = asked.is_safe() && upload.is_none();
        let mut pooled = upstream.take();
        // Each turn uses up one of the connections that wait, or makes a new one.
        loop {
            let link = match pooled.take() {
                Some(link) => link,
                // Boxed as everything that is rare, so that a request is small.
                None => Box::pin(self.dial(upstream)).await?,
            };
            let answered = link.ask(asked, &mut upload, &self.patience);
            match answered.await {
                Ok(answered) => return Ok(answered),
                Err(AskError::Unsent) => pooled = upstream.take(),
                Err(AskError::Stale(_)) if may_ask_again => {}
                Err(AskError::Stale(error) | AskError::Failed(error)) => return Err(error),
            }
        }
    }

    async fn dial(&self, upstream: &Upstream) -> Result<Box<Link>, ForwardError> {
        let ended = upstream.ended().clone();
        Link::dial(upstream.place(), self.patience.connect, ended).await
    }

    /// Opens a tunnel between both sides of a handshake.
    fn open(
        &self,
        link: Box<Link>,
        client: OnUpgrade,
        ends: Ends,
        permit: Permit,
    ) -> Result<(), ForwardError> {
        let seat = self.tunnels.take(ends.grant.user());
        let seat = seat.ok_or(ForwardError::TunnelsBusy)?;
        let (program, early) = link.into_wire();
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
        Ok(())
    }
}
