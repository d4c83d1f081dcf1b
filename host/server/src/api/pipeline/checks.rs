//! The checks that a request must pass before it may go on. Each check stands for itself; the pipeline
//! has their order.
//!
//! A check that fails returns the refusal that the client gets.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
};
use hersh_base::token_text;
use hersh_wire::Code;

use super::API_VERSION;
use crate::{
    api::{document, problem::Failure},
    auth::{Caller, Role, Rule, Scope},
    connections::ClientConnection,
    host::Host,
};

/// The beginning of a media type in an `Accept` header that asks for a version of this API.
const VERSIONED: &str = "application/vnd.hersh.v";

/// Returns the caller whose token the request has. A request with more than one `Authorization` header is
/// refused. An address that fails often has to wait, so that nobody can guess a token.
pub(super) fn authenticate(
    host: &Host,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Caller, Failure> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let only = values.next().is_none();
    let caller = host
        .accounts()
        .authenticate(value, host.now_ms())
        .filter(|_| only);
    if let Some(caller) = caller {
        return Ok(caller);
    }
    let wait_ms = peer.and_then(|peer| host.throttle().failed(peer, host.now_ms()));
    Err(match wait_ms {
        Some(wait_ms) => Failure::new(
            Code::RateLimited,
            "too many requests without a valid token came from this address; correct the token, then wait",
        )
        .retry_after(wait_ms.div_ceil(1_000)),
        None => Failure::new(
            Code::Unauthorized,
            "send 'Authorization: Bearer hersh_...' with a valid token",
        ),
    })
}

/// Counts the connection toward a member's limit. Admins have no limit: otherwise no admin could get in
/// to help a host that is full.
pub(super) fn count(
    host: &Host,
    caller: &Caller,
    connection: Option<&ClientConnection>,
) -> Result<(), Failure> {
    let permits = &host.permits().connections;
    let is_permitted = match (caller.role, connection) {
        (Role::Admin, _) | (Role::Member, None) => true,
        (Role::Member, Some(connection)) => connection.count_for(&caller.user, permits),
    };
    if is_permitted {
        return Ok(());
    }
    let detail = format!(
        "{} connections of {} are open, or all that members may have; close one, or try again later",
        permits.one_user(),
        caller.user,
    );
    Err(Failure::new(Code::QueueFull, detail).closing())
}

/// Refuses a client that asks for versions of the API, but not for this one.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Failure> {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let accepts = accepts.filter_map(|value| value.to_str().ok());
    let mut versions = accepts
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.trim().strip_prefix(VERSIONED))
        .filter_map(|rest| rest.split_once('+').map(|(version, _)| version))
        .peekable();
    if versions.peek().is_none() || versions.any(|version| version == API_VERSION) {
        return Ok(());
    }
    let detail = format!(
        "this host speaks version {API_VERSION}: accept {VERSIONED}{API_VERSION}+json, or name no version"
    );
    Err(Failure::new(Code::NotAcceptable, detail))
}

/// Refuses user info (`user:password@`) in an address: a password would get into logs, and a user name
/// could be mistaken for the host's name.
pub(super) fn check_authority(request: &Request) -> Result<(), Failure> {
    let authority = request.uri().authority().map(|it| it.as_str().as_bytes());
    let host = request.headers().get(header::HOST);
    let host = host.map(HeaderValue::as_bytes);
    let names_user = |text: &[u8]| text.contains(&b'@');
    if authority.is_some_and(names_user) || host.is_some_and(names_user) {
        let detail = "there is user info before an '@' in the host's name; ask without it";
        return Err(Failure::new(Code::BadRequest, detail));
    }
    Ok(())
}

/// Refuses a token in an address. The address gets into logs and answers, and the program that is asked
/// sees it, so the token would no longer be secret.
pub(super) fn check_address(request: &Request) -> Result<(), Failure> {
    let target = request.uri().path_and_query().map_or("", |it| it.as_str());
    if !token_text::is_spelled_in(target.as_bytes()) {
        return Ok(());
    }
    let detail = "there is a token in the address, or what could hide one; remove that token, since \
                  addresses are kept in logs, and send another as Authorization";
    Err(Failure::new(Code::BadRequest, detail))
}

/// Checks whether the caller may use a route of `rule`. A tunnel needs a higher scope, since what goes
/// through it can steer the program.
pub(super) fn check_rule(caller: &Caller, rule: Rule, opens_tunnel: bool) -> Result<(), Failure> {
    caller
        .may(rule)
        .map_err(|denied| Failure::new(Code::Forbidden, denied.to_string()))?;
    if opens_tunnel && caller.scope < Scope::Operate {
        let detail = "a WebSocket needs a token with scope 'operate'";
        return Err(Failure::new(Code::Forbidden, detail));
    }
    Ok(())
}

/// Returns the refusal of a method that `route` does not have.
pub(super) fn wrong_method(request: &Request, route: &str) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    let allowed = document::rules().methods(route);
    let detail = format!("{method} is not possible on {path}; use {allowed}");
    Failure::new(Code::MethodNotAllowed, detail).allow(allowed)
}

/// Returns whether a request on the route `path` asks for a tunnel (a WebSocket) to a program. What goes
/// through a tunnel can steer the program, so the request counts as a change.
pub(super) fn opens_tunnel(path: &str, headers: &HeaderMap) -> bool {
    hersh_proxy::is_offered(headers) && path.split('/').any(|part| part == "watcher")
}
