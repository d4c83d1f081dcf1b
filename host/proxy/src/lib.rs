//! The reverse proxy: the only way to a program.
//!
//! ```text
//! client ──► authorised route ──► path and framing checked ──► headers by allow-list ──► program
//!        ◄── body streamed    ◄── headers by allow-list    ◄── answer, or 502 / 503 / 504 by code
//! ```
//!
//! A program counts as hostile until shown otherwise. It never sees a credential, and can't set a cookie
//! or redirect on the host's origin. Browsers render what the program serves in a separate sandbox. A slow
//! program holds up a bounded number of requests, each for a bounded time, and never the host. The task
//! that waits for the program also drives the connection to it. So a request costs no task of its own, and
//! everything done for a request ends with the request.
//!
//! The proxy does not decide who may send a request, what is counted or where a program runs. It gets an
//! [`Admittance`], which it asks whether the request may still go on, and an [`Upstream`].

mod admittance;
mod download;
mod error;
mod events;
mod frames;
mod headers;
pub mod io_threads;
mod names;
mod path;
mod probe;
mod program_connection;
mod references;
mod request;
mod rules;
mod send_buffer;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tunnel;
mod upload;
mod upstream;
mod wait;
mod websocket;

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use hersh_answer::FinalHead;
use hersh_base::permits::{Limit, Permits};
use hyper::{
    Request, Response, StatusCode,
    body::Body as HttpBody,
    header::{self, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};

pub use self::{
    admittance::{Admittance, Client, Guard, TunnelRight},
    download::{Body, BodyError},
    error::ForwardError,
    names::addable,
    path::{PathError, watcher_path},
    probe::{ProbeFailure, probe},
    rules::Rules,
    upstream::{RequestCount, Upstream},
    websocket::is_offered,
};
use self::{
    error::AskError,
    program_connection::ProgramConnection,
    references::Base,
    request::UpstreamRequest,
    tunnel::{EndSignals, Tunnel},
    upload::Upload,
    websocket::Handshake,
};

/// The most requests that one program may have in flight, streams and tunnels included.
pub const IN_FLIGHT_MAX: usize = 256;

/// The limits on open tunnels to programs.
pub const TUNNELS_MAX: Limit = Limit {
    all: 1_024,
    one_user: 512,
    for_admins: 32,
};

/// Whoever sits between a client and this host takes a connection for dead that is silent for as
/// long as this, and some for half as long.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(30);

/// Forwards requests to programs. Clones share the permits for tunnels.
#[derive(Clone, Debug)]
pub struct Proxy {
    tunnels: Permits,
}

impl Default for Proxy {
    fn default() -> Self {
        let tunnels = Permits::new(TUNNELS_MAX);
        Self { tunnels }
    }
}

impl Proxy {
    /// Forwards `request` to the program behind `upstream`. `path` comes from [`watcher_path`]. If the
    /// request takes a while, the proxy asks `admittance` whether it may go on, and ends it if not.
    ///
    /// # Errors
    /// [`ForwardError`]; the program may have seen part of the request then.
    pub async fn forward<B>(
        &self,
        request: &mut Request<B>,
        path: &str,
        upstream: Arc<Upstream>,
        client: Option<Client>,
        admittance: &impl Admittance,
    ) -> Result<Response<Body>, ForwardError>
    where
        B: HttpBody<Data = Bytes> + Default + Send + 'static,
    {
        let body_bytes_max = upstream.rules().body_bytes_max;
        request::check(request, body_bytes_max)?;
        let handshake = websocket::asked(request, !request.body().is_end_stream())?.map(Box::new);
        let permit = upstream.permit()?;
        let upstream = permit.upstream();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let upload = Upload::new(mem::take(request.body_mut()), body_bytes_max);
        let asked = UpstreamRequest {
            method: request.method(),
            path,
            query: request.uri().query(),
            headers: request.headers(),
            authority: upstream.authority(),
            client: client.as_ref(),
            handshake: handshake.as_deref().map(Handshake::headers),
            rules: upstream.rules(),
        };
        let (final_head, connection) = self.ask(&asked, upload, upstream, admittance).await?;
        match final_head {
            FinalHead::Answer(head) => {
                let open = |container| admittance.watch(container);
                let references = lead(head.url_headers, &asked, request.uri().path());
                let body = download::stream(connection, permit, &head.headers, open);
                let mut answer = Response::new(body);
                *answer.status_mut() = head.status;
                // Reuses the request's map, which the HTTP library takes for the next request again.
                let mut headers = mem::take(request.headers_mut());
                headers.clear();
                headers.extend(head.headers);
                headers.extend(references);
                headers::confine(&mut headers);
                *answer.headers_mut() = headers;
                Ok(answer)
            }
            FinalHead::Switch(switched) => {
                let unasked = || ForwardError::Broken("it answered 101 to a plain request".into());
                let handshake = handshake.ok_or_else(unasked)?;
                let client_side =
                    upgrade.ok_or(ForwardError::Upgrade("this connection can't switch"))?;
                let headers = handshake
                    .confirm(&switched)
                    .map_err(|what| ForwardError::Broken(what.into()))?;
                let right = admittance.tunnel();
                let ends = EndSignals {
                    program: upstream.ended().clone(),
                    revoked: right.revoked,
                    silence: upstream.rules().timeouts.silence,
                };
                let tunnel = self.tunnels.take(&right.user, right.share);
                let tunnel = tunnel.ok_or(ForwardError::TunnelsBusy)?;
                let places = (permit, right.connection, tunnel);
                open(connection, client_side, ends, places);
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *answer.headers_mut() = headers;
                Ok(answer)
            }
        }
    }

    /// Asks the program over an idle connection, or over a new one when none is idle or the program closed
    /// it.
    async fn ask(
        &self,
        asked: &UpstreamRequest<'_>,
        mut upload: Option<Upload>,
        upstream: &Upstream,
        admittance: &impl Admittance,
    ) -> Result<(FinalHead, Box<ProgramConnection>), ForwardError> {
        let may_ask_again = asked.is_safe() && upload.is_none();
        let mut pooled = upstream.take(may_ask_again);
        // Each pass uses up one of the idle connections, or makes a new one.
        loop {
            let connection = match pooled.take() {
                Some(connection) => connection,
                // Boxed like everything rare, so that the future of a request is small.
                None => Box::pin(self.dial(upstream)).await?,
            };
            match connection
                .ask(asked, &mut upload, || admittance.holds())
                .await
            {
                Ok(answered) => return Ok(answered),
                Err(AskError::Unsent) => pooled = upstream.take(may_ask_again),
                Err(AskError::Stale(_)) if may_ask_again => {}
                // The body can also break because the code that passes it on saw first that access has ended.
                Err(AskError::Failed(ForwardError::BodyBroken)) if !admittance.holds() => {
                    return Err(ForwardError::Revoked);
                }
                Err(AskError::Stale(error) | AskError::Failed(error)) => return Err(error),
            }
        }
    }

    async fn dial(&self, upstream: &Upstream) -> Result<Box<ProgramConnection>, ForwardError> {
        let ended = upstream.ended().clone();
        ProgramConnection::dial(upstream.endpoint(), upstream.rules(), ended).await
    }
}

/// Opens a tunnel between both sides of a handshake, and drops `places` at the tunnel's end.
fn open(
    connection: Box<ProgramConnection>,
    client: OnUpgrade,
    ends: EndSignals,
    places: impl Send + 'static,
) {
    let (program, early) = connection.into_stream();
    let tunnel = Tunnel {
        client,
        program,
        early,
        ends,
    };
    tokio::spawn(async move {
        tunnel.run().await;
        drop(places);
    });
}

/// Returns the references of an answer as the client may see them. `target` is the path that the client
/// asked for.
fn lead(
    references: Vec<(HeaderName, HeaderValue)>,
    asked: &UpstreamRequest<'_>,
    target: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    if references.is_empty() {
        return references;
    }
    let host = asked.headers.get(header::HOST);
    let base = Base {
        prefix: target.strip_suffix(asked.path).unwrap_or_default(),
        path: asked.path,
        program: asked.authority,
        host: host.and_then(|host| host.to_str().ok()),
    };
    base.lead_all(references).collect()
}

/// Returns how long the host itself may be silent on a connection that may be silent for `silence`.
fn keep_alive(silence: Duration) -> Duration {
    (silence / 2).min(KEEP_ALIVE_MAX)
}
