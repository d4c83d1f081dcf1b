//! The change that a request is about to make, noted in the audit log before it is made.

use std::net::IpAddr;

use axum::extract::Request;

use super::footprint::Footprint;
use crate::{
    api::problem::Failure,
    auth::{
        Caller,
        audit::{self, Attempt},
    },
    host::Host,
};

/// The length to which a path in the audit log is cut.
const TARGET_BYTES_MAX: usize = 500;

/// The change that a request is about to make.
pub(super) struct Change {
    /// The method and the route of the request.
    action: String,
    /// The path of the request, cut to its longest length.
    target: String,
    /// The thing that the path names, in words.
    object: String,
    footprint: Footprint,
}

impl Change {
    /// Returns the change that a request for `route` asks for.
    pub(super) fn of(request: &Request, route: &str) -> Self {
        let (method, path) = (request.method(), request.uri().path());
        Self {
            action: format!("{method} {route}"),
            target: cut(path),
            object: object(route, path),
            footprint: Footprint::of(method, route),
        }
    }

    /// Notes in the audit log that `caller` is about to make the change, if there is space on the disk.
    ///
    /// # Errors
    /// The refusal for the client. The change must not be made then, since the audit log would not tell
    /// of it.
    pub(super) async fn begin(
        self,
        host: &Host,
        caller: &Caller,
        peer: Option<IpAddr>,
    ) -> Result<Attempt, Failure> {
        let footprint = self.footprint;
        footprint.check(host.disks())?;
        let plan = audit::Plan {
            at_ms: host.now_ms(),
            peer: peer.map_or_else(String::new, |peer| peer.to_string()),
            action: self.action,
            target: self.target,
            object: self.object,
        };
        let journal = (host.journal(), footprint.purpose());
        Ok(audit::attempt(journal, caller, plan).await?)
    }
}

/// Returns the thing that a path is about, in words: `program counter` for `/programs/counter/start`.
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
