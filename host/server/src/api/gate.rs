//! What every request passes before its handler runs: a version, a token, a rule, the audit log.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::{
    Extension,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hersh_base::token_text;
use hersh_wire::Code;

use super::{
    document, footprint::Footprint, guard::guarded, problem::Failure, rules::Access, watcher,
};
use crate::{
    auth::{Caller, Role, Scope, audit},
    connections::{Client, ClientConnection},
    host::Host,
};

const API_VERSION: &str = "1";
const VERSION_HEADER: HeaderName = HeaderName::from_static("hersh-api-version");
/// What an `Accept` header begins with that asks for a version of this API.
const VERSIONED: &str = "application/vnd.hersh.v";
/// A path in the audit log is cut here, bytes.
const TARGET_BYTES_MAX: usize = 500;

/// Lets a request through to its handler, with its [`Caller`], or answers it.
pub(super) async fn pass(
    State(host): State<Host>,
    matched: Option<MatchedPath>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    let path = matched.as_ref().map(MatchedPath::as_str);
    let client = request.extensions().get::<Client>();
    let connection = client.map(|client| &client.connection);
    versioned(match admit(&host, path, peer, connection, &request) {
        Ok(None) => next.run(request).await,
        Ok(Some(admitted)) => run(&host, admitted, peer, request, next).await,
        Err(refusal) => refusal.into_response(),
    })
}

/// The caller of a request that changes nothing, for the route `path`.
///
/// # Errors
/// The refusal, as [`pass`] would answer it.
pub(super) fn admit_read_only(
    host: &Host,
    path: &str,
    client: &Client,
    request: &Request,
) -> Result<Caller, Failure> {
    let (peer, connection) = (client.address.ip(), &client.connection);
    match admit(host, Some(path), Some(peer), Some(connection), request)? {
        Some(Admitted {
            caller,
            change: None,
        }) => {
            tracing::Span::current().record("user", caller.user.as_str());
            Ok(caller)
        }
        Some(Admitted {
            change: Some(_), ..
        })
        | None => Err(Failure::internal(&"this route is no mere look")),
    }
}

/// The answer with the version of the API.
pub(super) fn versioned(mut answer: Response) -> Response {
    let version = HeaderValue::from_static(API_VERSION);
    answer.headers_mut().insert(VERSION_HEADER, version);
    answer
}

/// A caller who may, and what it changes, if it changes anything.
struct Admitted {
    caller: Caller,
    change: Option<Change>,
}

/// What a request is about to change.
struct Change {
    /// Method and route.
    action: String,
    /// What the path names.
    object: String,
    footprint: Footprint,
}

/// Whether the request may be answered by its handler; `None` if that needs no caller.
fn admit(
    host: &Host,
    path: Option<&str>,
    peer: Option<IpAddr>,
    connection: Option<&ClientConnection>,
    request: &Request,
) -> Result<Option<Admitted>, Failure> {
    check_authority(request)?;
    let rules = document::rules();
    let method = request.method();
    let access = path.and_then(|path| rules.access(path, method));
    if access == Some(Access::Public) {
        return Ok(None);
    }
    // Without a token nobody learns so much as whether a route exists.
    let caller = authenticate(host, peer, request.headers())?;
    count(host, &caller, connection)?;
    check_version(request.headers())?;
    check_address(request)?;
    let Some(path) = path else {
        return Ok(Some(Admitted {
            caller,
            change: None,
        }));
    };
    match access {
        Some(Access::Token(rule)) => {
            caller
                .may(rule)
                .map_err(|denied| Failure::new(Code::Forbidden, denied.to_string()))?;
            let opens_tunnel = watcher::opens_tunnel(path, request.headers());
            if opens_tunnel && caller.scope < Scope::Operate {
                let detail = "a WebSocket needs a token with scope 'operate'";
                return Err(Failure::new(Code::Forbidden, detail));
            }
            let changes = opens_tunnel || rule.scope > Scope::Read;
            Ok(Some(Admitted {
                caller,
                change: changes.then(|| Change {
                    action: format!("{method} {path}"),
                    object: object(path, request.uri().path()),
                    footprint: Footprint::of(method, path),
                }),
            }))
        }
        Some(Access::Public) => Ok(None),
        None => Err(wrong_method(
            method,
            request.uri().path(),
            rules.methods(path),
        )),
    }
}

async fn run(
    host: &Host,
    admitted: Admitted,
    peer: Option<IpAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let Admitted { caller, change } = admitted;
    let attempt = match change {
        None => None,
        Some(Change {
            action,
            object,
            footprint,
        }) => {
            if let Err(full) = footprint.check(host.space()) {
                return Failure::from(full).into_response();
            }
            let plan = audit::Plan {
                at_ms: host.now_ms(),
                peer: peer.map_or_else(String::new, |peer| peer.to_string()),
                action,
                target: cut(request.uri().path()),
                object,
            };
            let journal = (host.journal(), footprint.purpose());
            match audit::attempt(journal, &caller, plan).await {
                Ok(attempt) => Some(attempt),
                Err(error) => return Failure::from(error).into_response(),
            }
        }
    };
    tracing::Span::current().record("user", caller.user.as_str());
    let client = request.extensions().get::<Client>();
    let connection = client.map(|client| client.connection.clone());
    let grant = host.grant(caller.clone());
    let particulars = attempt.as_ref().map(audit::Attempt::particulars);
    request
        .extensions_mut()
        .insert(particulars.unwrap_or_default());
    request.extensions_mut().insert(caller);
    let answer = guarded(grant.clone(), request, |request| next.run(request)).await;
    if let Some(attempt) = attempt {
        attempt.ended(answer.status().as_u16()).await;
    }
    match connection {
        Some(connection) => answer.map(|body| connection.carry(body, grant)),
        None => answer,
    }
}

fn authenticate(host: &Host, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Caller, Failure> {
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

/// Counts the connection toward a member's limit. Admins have no limit: otherwise nobody could get in
/// to help a host that is full.
fn count(
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

/// A client that names versions must name ours.
fn check_version(headers: &HeaderMap) -> Result<(), Failure> {
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
fn check_authority(request: &Request) -> Result<(), Failure> {
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

/// A token in an address would come into logs, into answers and before the program that is asked.
fn check_address(request: &Request) -> Result<(), Failure> {
    let target = request.uri().path_and_query().map_or("", |it| it.as_str());
    if !token_text::is_spelled_in(target.as_bytes()) {
        return Ok(());
    }
    let detail = "there is a token in the address, or what could hide one; remove that token, since \
                  addresses are kept in logs, and send another as Authorization";
    Err(Failure::new(Code::BadRequest, detail))
}

fn wrong_method(method: &Method, path: &str, allowed: String) -> Failure {
    let detail = format!("{method} is not possible on {path}; use {allowed}");
    Failure::new(Code::MethodNotAllowed, detail).allow(allowed)
}

/// What a path is about, in words: `program counter` for `/programs/counter/start`.
fn object(route: &str, path: &str) -> String {
    let parts = route.split('/').zip(path.split('/'));
    let named = parts.filter_map(|(part, name)| match part {
        "{id}" => Some(("program", name)),
        "{user}" => Some(("user", name)),
        "{token}" => Some(("token", name)),
        _ => None,
    });
    let named = named.map(|(kind, name)| cut(&format!("{kind} {name}")));
    named.last().unwrap_or_default()
}

fn cut(path: &str) -> String {
    path.chars().take(TARGET_BYTES_MAX).collect()
}
