//! HTTP to the collector over the host's own client library, bounded in time and size.

use std::{fmt, pin::Pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::{Handle, TryCurrentError};

/// The most bytes of a collector's answer, which says at most which spans the collector did not take.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends from the exporter's thread over the host's runtime.
pub(super) struct Transport {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(timeout: Duration) -> Result<Self, TryCurrentError> {
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            runtime: Handle::try_current()?,
            timeout,
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Transport {
    fn send_bytes<'this, 'answer>(&'this self, request: Request<Bytes>) -> Answer<'answer>
    where
        'this: 'answer,
        Self: 'answer,
    {
        let client = self.client.clone();
        let exchange = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        let timeout = self.timeout;
        // Sent on the host's runtime, since the exporter's thread has no reactor and no timer of its own.
        let sent = self
            .runtime
            .spawn(async move { tokio::time::timeout(timeout, exchange).await });
        Box::pin(async move { sent.await?? })
    }
}
