//! Asks a web server once, and tells one the news.

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use hersh::EffectId;
use http_body_util::Full;
use hyper::{Request, Uri};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

/// What a web server that is well says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// From the question to the head of the answer.
    pub response_ms: u64,
}

/// Asks over HTTP, with a new connection each time: that one can be made is part of being well.
pub(crate) struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

impl Client {
    pub(crate) fn new() -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        Self(builder.pool_max_idle_per_host(0).build_http())
    }

    /// Posts the news, with the id by which the other side knows news that comes again.
    ///
    /// # Errors
    /// Why there was no answer, or which answer says that the news was not taken.
    pub(crate) async fn tell(&self, url: &Uri, id: EffectId, news: String) -> hersh::Result {
        let request = Request::post(url)
            .header("content-type", "text/plain; charset=utf-8")
            .header("idempotency-key", id.to_string())
            .body(Full::from(news))?;
        let reply = self.0.request(request).await;
        let status = reply.map_err(|error| innermost(&error))?.status();
        if status.is_success() {
            return Ok(());
        }
        Err(hersh::Error::msg(format!("it answers {status}")))
    }

    /// # Errors
    /// Why there was no answer, or which answer says that the server is not well.
    pub(crate) async fn ask(&self, url: &Uri) -> hersh::Result<Answer> {
        let began = Instant::now();
        let reply = self.0.get(url.clone()).await;
        let status = reply.map_err(|error| innermost(&error))?.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(hersh::Error::msg(format!("it answers {status}")));
        }
        Ok(Answer {
            status: status.as_u16(),
            response_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// The cause of all, without who was told of it on the way.
fn innermost(error: &(dyn Error + 'static)) -> hersh::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    hersh::Error::msg(cause.to_string())
}
