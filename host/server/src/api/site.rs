//! Serves the requests of connections: with the router, or by a short way for what is asked most.
//!
//! ```text
//! GET /programs/{id}/watcher/... ──────────► pipeline ─► proxy                (in the I/O thread)
//! everything else ──► router, its layer ───► pipeline ─► handler, or proxy    (beside it)
//! ```
//! Both ways pass one [`Pipeline`] and the same proxy. The short way leaves out the layers and boxes of
//! a router, and it stays in the I/O thread. For a small answer, the other way costs more for these than
//! for all the rest.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hersh_proxy::io_threads;
use tower_service::Service;

use super::{
    pipeline::{Arrival, Pipeline},
    watcher::{DirectRequest, WATCHER_ROUTE},
};
use crate::connections::{Client, RequestHandler};

/// The router and the short way that serve the requests of connections.
pub(crate) struct Site {
    /// The pipeline that the short way passes; `None` for a router that stands alone.
    short: Option<Pipeline>,
    router: Router,
}

impl From<Router> for Site {
    fn from(router: Router) -> Self {
        let short = None;
        Self { short, router }
    }
}

impl Site {
    /// Returns a site with `pipeline` for the short way. `router` must pass the same pipeline.
    pub(super) fn new(pipeline: Pipeline, router: Router) -> Self {
        let short = Some(pipeline);
        Self { short, router }
    }
}

impl RequestHandler for Site {
    #[expect(
        clippy::manual_async_fn,
        reason = "a function would hold the request twice, and all of it moves with each request"
    )]
    fn answer(
        self: Arc<Self>,
        mut request: Request,
        client: Client,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send {
        async move {
            if let Some(pipeline) = &self.short
                && let Some(look) = DirectRequest::asked_for(&request, pipeline.host(), &client)
            {
                let arrival = Arrival::by(&client, WATCHER_ROUTE);
                return Ok(pipeline.answer(&mut request, &arrival, &look).await);
            }
            let extensions = request.extensions_mut();
            extensions.insert(ConnectInfo(client.address));
            extensions.insert(client);
            let mut router = self.router.clone();
            // No call of `poll_ready` is needed: a router is always ready.
            io_threads::run_on_main(async move { router.call(request).await }).await
        }
    }
}
