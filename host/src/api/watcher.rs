//! The way to a program's WatcherAPI.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use hersh_wire::Code;

use super::{extract::Id, problem::Failure};
use crate::{host::Host, proxy};

/// The port that a WatcherAPI listens on, in every sandbox.
const WATCHER_PORT: u16 = 8080;

pub(super) async fn forward(
    State(host): State<Host>,
    Id(id): Id,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
) -> Result<Response, Failure> {
    let entry = host.get(&id)?;
    let path =
        proxy::watcher_path(request.uri(), id.as_str()).map_err(proxy::ForwardError::from)?;
    let Some(address) = host.address(&entry).await? else {
        let state = entry.state_name();
        let detail = format!("{id} is {state}, so nothing can be forwarded to it; start it first");
        return Err(Failure::new(Code::NotReady, detail).in_state(state));
    };
    let program = SocketAddr::new(address, WATCHER_PORT);
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer);
    Ok(host
        .proxy()
        .forward(request, &path, program, peer, entry.in_flight())
        .await?)
}
