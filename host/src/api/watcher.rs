//! The way to a program's WatcherAPI.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, Request, State},
    http::header,
    response::Response,
};
use hersh_program::ProgramId;
use hersh_wire::Code;

use super::{extract::Owned, problem::Failure};
use crate::{
    auth::{Caller, Scope},
    host::{Entry, Host},
    proxy,
    server::{Client, Scheme},
};

/// Who asks and by which scheme, as the server says.
type Sender = (
    Option<Extension<ConnectInfo<SocketAddr>>>,
    Option<Extension<Scheme>>,
);

/// The WatcherAPI's root. A WebSocket needs scope operate.
#[utoipa::path(
    method(get, head),
    path = "/programs/{id}/watcher",
    tag = "watcher",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn look(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// The WatcherAPI's root.
#[utoipa::path(
    method(post, put, patch, delete),
    path = "/programs/{id}/watcher",
    tag = "watcher",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn steer(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// What is below the WatcherAPI's root. A WebSocket needs scope operate.
#[utoipa::path(
    method(get, head),
    path = "/programs/{id}/watcher/{*path}",
    tag = "watcher",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"),
        ("path" = String, Path, description = "What to ask the program for"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn look_below(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// What is below the WatcherAPI's root.
#[utoipa::path(
    method(post, put, patch, delete),
    path = "/programs/{id}/watcher/{*path}",
    tag = "watcher",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"),
        ("path" = String, Path, description = "What to ask the program for"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn steer_below(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// The same by an older path. A WebSocket needs scope operate.
#[utoipa::path(
    method(get, head),
    path = "/programs/{id}/proxy/watcher/{*path}",
    tag = "watcher",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"),
        ("path" = String, Path, description = "What to ask the program for"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn look_older(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// The same by an older path.
#[utoipa::path(
    method(post, put, patch, delete),
    path = "/programs/{id}/proxy/watcher/{*path}",
    tag = "watcher",
    security(("bearer" = ["operate"])),
    params(("id" = String, Path, description = "The program's id"),
        ("path" = String, Path, description = "What to ask the program for"),),
    responses((status = 200, description = "What the program answers, with its own status")),
)]
pub(super) async fn steer_older(
    host: State<Host>,
    caller: Extension<Caller>,
    program: Owned,
    client: Sender,
    request: Request,
) -> Result<Response, Failure> {
    forward(host, caller, program, client, request).await
}

/// A look at what is below a WatcherAPI's root, by whoever may.
pub(super) async fn look_at(
    host: &Host,
    caller: &Caller,
    program: &ProgramId,
    client: Client,
    request: Request,
) -> Result<Response, Failure> {
    let entry = host.get(caller, program)?;
    pass_on(host, caller, &entry, Some(client), request).await
}

async fn forward(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Owned(entry): Owned,
    (peer, scheme): Sender,
    request: Request,
) -> Result<Response, Failure> {
    let client = peer.zip(scheme);
    let client = client
        .map(|(Extension(ConnectInfo(address)), Extension(scheme))| Client { address, scheme });
    pass_on(&host, &caller, &entry, client, request).await
}

async fn pass_on(
    host: &Host,
    caller: &Caller,
    entry: &Entry,
    client: Option<Client>,
    request: Request,
) -> Result<Response, Failure> {
    if request.headers().contains_key(header::UPGRADE) && caller.scope < Scope::Operate {
        // What goes through a tunnel can steer the program.
        let detail = "a WebSocket needs a token with scope 'operate'";
        return Err(Failure::new(Code::Forbidden, detail));
    }
    let id = entry.id();
    let path =
        proxy::watcher_path(request.uri(), id.as_str()).map_err(proxy::ForwardError::from)?;
    let Some(upstream) = host.upstream(entry).await? else {
        let state = entry.state_name();
        let detail = format!("{id} is {state}, so nothing can be forwarded to it; start it first");
        return Err(Failure::new(Code::NotReady, detail).in_state(state));
    };
    Ok(host
        .proxy()
        .forward(request, &path, &upstream, client)
        .await?)
}
