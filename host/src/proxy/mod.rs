//! The reverse proxy: the only way to a program.
//!
//! ```text
//! client ──► authorised route ──► path checked once ──► headers by allow-list ──► program :8080
//!        ◄── body streamed    ◄── headers by allow-list ◄── answer, or 502 / 503 / 504 by code
//! ```
//!
//! A program is hostile until shown otherwise: it never sees a credential, can't set a cookie or
//! redirect on the host's origin, and what it serves is rendered by browsers in a sandbox of its
//! own. A slow one holds a bounded number of requests, never the host.

mod headers;
mod path;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Uri, header, http::uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use path::{PathError, watcher_path};

/// Bytes of a request's body. Messages are small; a WatcherAPI takes 64 KiB.
pub(crate) const REQUEST_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Requests that one program may have in flight, streams included.
pub(crate) const IN_FLIGHT_MAX: usize = 256;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const POOL_IDLE_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Why a request got no answer from the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The path is not one that may be asked for.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A tunnel was asked for.
    #[error("protocol upgrades are not forwarded; use plain HTTP or Server-Sent Events")]
    Upgrade,
    /// The request's body is too large.
    #[error("the request's body is larger than {REQUEST_BODY_BYTES_MAX} bytes")]
    BodyTooLarge,
    /// Too many requests are under way.
    #[error("{IN_FLIGHT_MAX} requests to this program are under way; try again shortly")]
    Busy,
    /// No connection, or it broke before an answer.
    #[error("the program's WatcherAPI could not be reached: {0}; look at its logs")]
    Broken(String),
    /// No answer in time.
    #[error("the program did not answer within {} s; look at its logs", ANSWER_TIMEOUT.as_secs())]
    Late,
}

/// Forwards requests to programs; clones share the pools of connections.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    answer_timeout: Duration,
}

/// How many requests one program has under way.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(Arc<Semaphore>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IN_FLIGHT_MAX)))
    }
}

impl Default for Proxy {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .http1_max_buf_size(HEADER_BYTES_MAX)
            .build(connector);
        Self {
            client,
            answer_timeout: ANSWER_TIMEOUT,
        }
    }
}

impl Proxy {
    /// Forwards `request` to the program at `program`. `path` comes from [`watcher_path`].
    ///
    /// # Errors
    /// [`ForwardError`]; the program may have seen part of the request then.
    pub(crate) async fn forward(
        &self,
        request: Request,
        path: &str,
        program: SocketAddr,
        peer: Option<SocketAddr>,
        in_flight: &InFlight,
    ) -> Result<Response, ForwardError> {
        if request.headers().contains_key(header::UPGRADE) {
            return Err(ForwardError::Upgrade);
        }
        let declared = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok());
        if declared
            .and_then(|v| v.parse::<usize>().ok())
            .is_some_and(|n| n > REQUEST_BODY_BYTES_MAX)
        {
            return Err(ForwardError::BodyTooLarge);
        }
        let permit = Arc::clone(&in_flight.0)
            .try_acquire_owned()
            .map_err(|_| ForwardError::Busy)?;
        let request = outgoing(request, path, program, peer)?;
        let answer = tokio::time::timeout(self.answer_timeout, self.client.request(request))
            .await
            .map_err(|_| ForwardError::Late)?
            .map_err(|error| explain(&error))?;
        if answer.status().is_informational() {
            // Nobody asked to switch protocols; passed on, it would confuse what stands before us.
            let message = format!("it answered {} to a plain request", answer.status());
            return Err(ForwardError::Broken(message));
        }
        Ok(incoming(answer, permit))
    }
}

fn outgoing(
    request: Request,
    path: &str,
    program: SocketAddr,
    peer: Option<SocketAddr>,
) -> Result<Request, ForwardError> {
    let (mut parts, body) = request.into_parts();
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_string(),
    };
    let unusable = |error: hyper::http::Error| ForwardError::Broken(error.to_string());
    parts.uri = Uri::builder()
        .scheme(uri::Scheme::HTTP)
        .authority(program.to_string())
        .path_and_query(target)
        .build()
        .map_err(unusable)?;
    parts.version = hyper::Version::HTTP_11;
    parts.headers = headers::toward_program(&parts.headers, peer);
    parts.extensions.clear();
    Ok(Request::from_parts(
        parts,
        Body::new(Limited::new(body, REQUEST_BODY_BYTES_MAX)),
    ))
}

/// The answer as the client sees it. The permit lives as long as the body streams.
fn incoming(
    answer: hyper::Response<hyper::body::Incoming>,
    permit: OwnedSemaphorePermit,
) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers = headers::toward_client(&parts.headers);
    parts.extensions.clear();
    parts.version = hyper::Version::HTTP_11;
    let body = body.map_frame(move |frame| {
        let _held = &permit;
        frame
    });
    Response::from_parts(parts, Body::new(body))
}

fn explain(error: &hyper_util::client::legacy::Error) -> ForwardError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<LengthLimitError>() {
            return ForwardError::BodyTooLarge;
        }
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    ForwardError::Broken(message)
}

#[cfg(test)]
mod tests;
