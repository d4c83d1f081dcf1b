//! The routes of the router, as a destination of the pipeline.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};

use super::{AdmittedCaller, Arrival, Destination, Pipeline, Supervision};
use crate::connections::Client;

/// The handler of the route that the router found, or the router's answer if it found none.
struct RouteHandler(Next);

/// Lets a request through the pipeline: the one middleware of the router.
pub(in crate::api) async fn pass_to_router(
    State(pipeline): State<Pipeline>,
    matched: Option<MatchedPath>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    client: Option<Extension<Client>>,
    mut request: Request,
    next: Next,
) -> Response {
    let arrival = Arrival {
        route: matched.as_ref().map(MatchedPath::as_str),
        peer: peer.map(|Extension(ConnectInfo(peer))| peer.ip()),
        connection: client.as_ref().map(|Extension(client)| &client.connection),
    };
    pipeline
        .answer(&mut request, &arrival, RouteHandler(next))
        .await
}

impl Destination for RouteHandler {
    /// The pipeline, so that none of the many handlers has to check the right by which it runs.
    const SUPERVISION: Supervision = Supervision::Pipeline;

    async fn answer(self, request: &mut Request, admitted: Option<AdmittedCaller>) -> Response {
        let mut request = std::mem::take(request);
        if let Some(AdmittedCaller {
            caller,
            particulars,
        }) = admitted
        {
            let extensions = request.extensions_mut();
            extensions.insert(particulars.unwrap_or_default());
            extensions.insert(caller);
        }
        let Self(next) = self;
        next.run(request).await
    }
}
