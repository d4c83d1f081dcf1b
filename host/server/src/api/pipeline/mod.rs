//! What every request passes on its way, spelled here and nowhere else.
//!
//! ```text
//! seen: id, span, metrics
//! └─ version of the API named
//!    └─ address without user info ─► token ─► connection counted ─► version ─► address without token ─► rule
//!       └─ room on the disk ─► audit: attempt
//!          └─ guard, for as long as the right holds
//!             └─ destination: a route of the router, or a look at a program
//!          └─ audit: outcome ─► the connection watches what is still open
//! ```
//! The steps are private to this folder, so no other way can be put together from them. Where a
//! request leads is a [`Destination`]: it says by a value, with its reason, what it does by itself.

mod change;
mod checks;
mod footprint;
mod guard;
mod observe;
mod request_id;
mod routed;

use std::{net::IpAddr, pin::pin};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use tracing::{Instrument, Span};

use self::{change::Change, guard::guarded, observe::Observer};
use super::{document, problem::Failure, rules::Access};
use crate::{
    auth::{
        Caller, Scope,
        audit::{Attempt, Particulars},
    },
    connections::{Client, ClientConnection},
    host::Host,
};

pub(super) use routed::pass_to_router;

const API_VERSION: &str = "1";
const VERSION_HEADER: HeaderName = HeaderName::from_static("hersh-api-version");

/// The chain that every request of a host passes; clones are the same one.
#[derive(Clone)]
pub(super) struct Pipeline {
    host: Host,
    observer: Observer,
}

/// How a request came.
pub(super) struct Arrival<'a> {
    /// What it asks for, as the document has it; `None` if there is no such route.
    route: Option<&'a str>,
    /// The client's address, if a server told it.
    peer: Option<IpAddr>,
    /// What it came by, if that was a connection.
    connection: Option<&'a ClientConnection>,
}

/// Who sees to it that an answer ends with the right by which it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supervision {
    /// The pipeline: handler and bodies run in its guard, and the connection watches what is open.
    Pipeline,
    /// The destination, by itself: it asks before it answers, and tells the connection what is open.
    Destination,
}

/// Where a request leads that was let in.
pub(super) trait Destination: Send {
    /// Who sees to it that the answer ends in time.
    const SUPERVISION: Supervision;

    /// Answers the request of whoever was let in; of nobody in particular where anybody may ask.
    fn answer(
        self,
        request: &mut Request,
        admitted: Option<Admitted>,
    ) -> impl Future<Output = Response> + Send;
}

/// Whoever was let in: nobody but the pipeline can make one.
pub(super) struct Admitted {
    caller: Caller,
    /// Where to tell what is changed; `None` if the request changes nothing.
    particulars: Option<Particulars>,
}

/// What lets a request in.
enum Admission {
    /// Anybody may ask.
    Public,
    /// A caller who may, and what the request is about to change, if it changes anything.
    Granted(Caller, Option<Change>),
}

impl<'a> Arrival<'a> {
    /// A request of `client` for `route`.
    pub(super) fn by(client: &'a Client, route: &'a str) -> Self {
        Self {
            route: Some(route),
            peer: Some(client.address.ip()),
            connection: Some(&client.connection),
        }
    }
}

impl Admitted {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Pipeline {
    pub(super) fn new(host: Host) -> Self {
        let observer = Observer::new(&host);
        Self { host, observer }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Answers a request, at its destination if that may be.
    ///
    /// The request goes by reference, since all of it would move with each call.
    pub(super) async fn answer(
        &self,
        request: &mut Request,
        arrival: &Arrival<'_>,
        destination: impl Destination,
    ) -> Response {
        let seen = self.observer.see(request, arrival.route);
        // Pinned here, since all of it would move into what waits for it.
        let answer = pin!(self.let_through(request, arrival, destination));
        let answer = answer.instrument(seen.span()).await;
        seen.answered(versioned(answer.into_response()))
    }

    async fn let_through<D: Destination>(
        &self,
        request: &mut Request,
        arrival: &Arrival<'_>,
        destination: D,
    ) -> Result<Response, Failure> {
        let (admitted, attempt, grant) = {
            let (caller, change) = match self.admit(request, arrival)? {
                Admission::Public => (None, None),
                Admission::Granted(caller, change) => (Some(caller), change),
            };
            let attempt = match (&caller, change) {
                (Some(caller), Some(change)) => {
                    Some(change.begin(&self.host, caller, arrival.peer).await?)
                }
                (Some(_) | None, _) => None,
            };
            if let Some(caller) = &caller {
                Span::current().record("user", caller.user.as_str());
            }
            let grant = match D::SUPERVISION {
                Supervision::Pipeline => caller.clone().map(|caller| self.host.grant(caller)),
                Supervision::Destination => None,
            };
            let particulars = attempt.as_ref().map(Attempt::particulars);
            let admitted = caller.map(|caller| Admitted {
                caller,
                particulars,
            });
            (admitted, attempt, grant)
        };
        let answer = match &grant {
            Some(grant) => {
                guard::watch_body(grant, request);
                let answer = destination.answer(request, admitted);
                let answer = pin!(grant.right().carry(answer));
                guarded(grant, answer).await
            }
            None => destination.answer(request, admitted).await,
        };
        let answer = match attempt {
            Some(attempt) => end(attempt, answer).await,
            None => answer,
        };
        Ok(match (arrival.connection, grant) {
            (Some(connection), Some(grant)) => answer.map(|body| connection.carry(body, grant)),
            (Some(_) | None, _) => answer,
        })
    }

    /// Whether the request may go on to its destination.
    fn admit(&self, request: &Request, arrival: &Arrival<'_>) -> Result<Admission, Failure> {
        let (host, headers) = (&self.host, request.headers());
        checks::check_authority(request)?;
        let access = |route| document::rules().access(route, request.method());
        let rule = match arrival.route.and_then(access) {
            Some(Access::Public) => return Ok(Admission::Public),
            Some(Access::Token(rule)) => Some(rule),
            None => None,
        };
        // Without a token nobody learns so much as whether a route exists.
        let caller = checks::authenticate(host, arrival.peer, headers)?;
        checks::count(host, &caller, arrival.connection)?;
        checks::check_version(headers)?;
        checks::check_address(request)?;
        let change = match (arrival.route, rule) {
            (Some(route), Some(rule)) => {
                let opens_tunnel = checks::opens_tunnel(route, headers);
                checks::check_rule(&caller, rule, opens_tunnel)?;
                let changes = opens_tunnel || rule.scope > Scope::Read;
                changes.then(|| Change::of(request, route))
            }
            (Some(route), None) => return Err(checks::wrong_method(request, route)),
            // The router says that there is no such route.
            (None, _) => None,
        };
        Ok(Admission::Granted(caller, change))
    }
}

/// Notes with what answer a change ended.
async fn end(attempt: Attempt, answer: Response) -> Response {
    attempt.ended(answer.status().as_u16()).await;
    answer
}

/// The answer with the version of the API.
fn versioned(mut answer: Response) -> Response {
    let version = HeaderValue::from_static(API_VERSION);
    answer.headers_mut().insert(VERSION_HEADER, version);
    answer
}
