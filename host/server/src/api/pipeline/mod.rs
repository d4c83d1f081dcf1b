//! The steps that every request passes, in their order. No other place spells this order.
//!
//! ```text
//! seen: id, span, metrics
//! └─ version of the API named
//!    └─ address without user info ─► token ─► connection counted ─► version ─► address without token ─► rule
//!       └─ space on the disk ─► audit: attempt
//!          └─ guard, for as long as the right holds
//!             └─ destination: a route of the router, or a look at a program
//!          └─ audit: outcome ─► the connection watches what is still open
//! ```
//! The steps are private to this folder, so no other code can put them together differently or leave one
//! out. A request leads to a [`Destination`], whose [`Supervision`] says which part of the work the
//! destination does itself.

mod change;
mod checks;
mod footprint;
mod guard;
mod observe;
mod request_id;
mod route_handler;

use std::{net::IpAddr, pin::pin};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use tracing::{Instrument, Span};

use self::{change::Change, guard::guard_response, observe::Observer};
use super::{document, problem::Failure, rules::Access};
use crate::{
    auth::{
        Caller, Scope,
        audit::{Attempt, Particulars},
    },
    connections::{Client, ClientConnection},
    host::Host,
};

pub(super) use route_handler::pass_to_router;

const API_VERSION: &str = "1";
const VERSION_HEADER: HeaderName = HeaderName::from_static("hersh-api-version");

/// The steps that every request of a host passes. Clones share the host and the observer.
#[derive(Clone)]
pub(super) struct Pipeline {
    host: Host,
    observer: Observer,
}

/// The way by which a request came.
pub(super) struct Arrival<'a> {
    /// The route that the request asks for, as the API document writes it; `None` if there is no such
    /// route.
    route: Option<&'a str>,
    /// The client's address; `None` if the server did not pass it on.
    peer: Option<IpAddr>,
    /// The connection by which the request came, if there is one.
    connection: Option<&'a ClientConnection>,
}

/// Who ends an answer once the caller has lost the right to it, such as when the token was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supervision {
    /// The pipeline: the handler and the bodies run in its guard, and the connection watches what is
    /// open.
    Pipeline,
    /// The destination itself: it checks the right before it answers, and tells the connection what is
    /// open.
    Destination,
}

/// A place to which a request leads that was let in.
pub(super) trait Destination: Send {
    /// Who ends the answer once the caller has lost the right to it.
    const SUPERVISION: Supervision;

    /// Answers the request. `admitted` is the caller who was let in; `None` where anybody may ask.
    fn answer(
        self,
        request: &mut Request,
        admitted: Option<AdmittedCaller>,
    ) -> impl Future<Output = Response> + Send;
}

/// A caller who was let in. Only the pipeline can make this value, so code that needs it can't run before
/// the checks.
pub(super) struct AdmittedCaller {
    caller: Caller,
    /// Where to note what the request changes; `None` if the request changes nothing.
    particulars: Option<Particulars>,
}

/// Why a request is let in.
enum Admission {
    /// The route is public: anybody may ask.
    Public,
    /// The caller may ask. Holds the caller and the change that the request is about to make, if it makes
    /// one.
    Granted(Caller, Option<Change>),
}

impl<'a> Arrival<'a> {
    /// Returns the arrival of a request by `client` for `route`.
    pub(super) fn by(client: &'a Client, route: &'a str) -> Self {
        Self {
            route: Some(route),
            peer: Some(client.address.ip()),
            connection: Some(&client.connection),
        }
    }
}

impl AdmittedCaller {
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

    /// Answers a request: at its destination if every check lets it through, else with a refusal.
    ///
    /// The request goes by reference: it is large, and each call would move it.
    pub(super) async fn answer(
        &self,
        request: &mut Request,
        arrival: &Arrival<'_>,
        destination: impl Destination,
    ) -> Response {
        let seen = self.observer.see(request, arrival.route);
        // Pinned here: the future is large, and `instrument` would move it.
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
            let admitted = caller.map(|caller| AdmittedCaller {
                caller,
                particulars,
            });
            (admitted, attempt, grant)
        };
        let answer = match &grant {
            Some(grant) => {
                guard::guard_request(grant, request);
                let answer = destination.answer(request, admitted);
                let answer = pin!(grant.right().carry(answer));
                guard_response(grant, answer).await
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

    /// Checks whether the request may go on to its destination.
    fn admit(&self, request: &Request, arrival: &Arrival<'_>) -> Result<Admission, Failure> {
        let (host, headers) = (&self.host, request.headers());
        checks::check_authority(request)?;
        let access = |route| document::rules().access(route, request.method());
        let rule = match arrival.route.and_then(access) {
            Some(Access::Public) => return Ok(Admission::Public),
            Some(Access::Token(rule)) => Some(rule),
            None => None,
        };
        // Comes before any other answer: without a token, nobody may learn even whether a route exists.
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

/// Notes in the audit log with which status a change ended.
async fn end(attempt: Attempt, answer: Response) -> Response {
    attempt.ended(answer.status().as_u16()).await;
    answer
}

/// Adds the version of the API to an answer.
fn versioned(mut answer: Response) -> Response {
    let version = HeaderValue::from_static(API_VERSION);
    answer.headers_mut().insert(VERSION_HEADER, version);
    answer
}
