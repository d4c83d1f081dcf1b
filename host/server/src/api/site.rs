//! What a connection is served from: the router, and a short way for what is asked most.
//!
//! ```text
//! GET /programs/{id}/watcher/... ──► observer ─► gate ─► proxy                (in the I/O thread)
//! everything else ──► router ──────► observer ─► gate ─► handler, or proxy    (beside it)
//! ```
//! Both ways are seen by one observer and pass the same gate and the same proxy. The short one
//! leaves out the layers and boxes of a router and does not leave its thread, which for a small
//! answer would cost more than all the rest.

use std::{convert::Infallible, pin::pin, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::Method,
    response::{IntoResponse, Response},
};
use hersh_program::ProgramId;
use hersh_proxy::io_threads;
use tower_service::Service;

use super::{gate, observe::Observer, watcher};
use crate::{
    connections::{Client, RequestHandler},
    host::Host,
};

/// The route that the short way stands for.
const WATCHER_ROUTE: &str = "/programs/{id}/watcher/{*path}";

/// What a connection is served from.
pub(crate) struct Site {
    /// Where the short way leads, and who sees it; none for a router that stands alone.
    short: Option<(Host, Observer)>,
    router: Router,
}

impl From<Router> for Site {
    fn from(router: Router) -> Self {
        let short = None;
        Self { short, router }
    }
}

impl Site {
    pub(super) fn new(host: Host, observer: Observer, router: Router) -> Self {
        let short = Some((host, observer));
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
            if let Some((host, observer)) = &self.short
                && let Some(program) = watched(&request)
            {
                let seen = observer.see(&request, WATCHER_ROUTE);
                let answer = pin!(look(host, &program, &mut request, &client));
                return Ok(seen.through(answer).await);
            }
            let extensions = request.extensions_mut();
            extensions.insert(ConnectInfo(client.address));
            extensions.insert(client);
            let mut router = self.router.clone();
            // A router is always ready.
            io_threads::run_on_main(async move { router.call(request).await }).await
        }
    }
}

/// The program whose WatcherAPI is looked at, if the request goes to [`WATCHER_ROUTE`] and says so
/// without escapes. What asks for a tunnel is no mere look.
fn watched(request: &Request) -> Option<ProgramId> {
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    if !is_look || hersh_proxy::is_offered(request.headers()) {
        return None;
    }
    let rest = request.uri().path().strip_prefix("/programs/")?;
    let (program, below) = rest.split_once('/')?;
    below.strip_prefix("watcher/").filter(|it| !it.is_empty())?;
    ProgramId::parse(program).ok()
}

async fn look(
    host: &Host,
    program: &ProgramId,
    request: &mut Request,
    client: &Client,
) -> Response {
    let caller = gate::admit_read_only(host, WATCHER_ROUTE, client, request);
    let answer = match caller {
        // The proxy itself sees to it that the caller stays admitted, without a timer for each request.
        Ok(caller) => watcher::look_at(host, caller, program, client, request).await,
        Err(refusal) => Err(refusal),
    };
    gate::versioned(answer.into_response())
}
