//! What a request is about to change, noted in the audit log before it does.

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

/// A path in the audit log is cut here, bytes.
const TARGET_BYTES_MAX: usize = 500;

/// What a request is about to change.
pub(super) struct Change {
    /// Method and route.
    action: String,
    /// The path.
    target: String,
    /// What the path names.
    object: String,
    footprint: Footprint,
}

impl Change {
    /// The change that a request for `route` asks for.
    pub(super) fn of(request: &Request, route: &str) -> Self {
        let (method, path) = (request.method(), request.uri().path());
        Self {
            action: format!("{method} {route}"),
            target: cut(path),
            object: object(route, path),
            footprint: Footprint::of(method, route),
        }
    }

    /// Notes that `caller` is about to make the change, if there is room for it.
    ///
    /// # Errors
    /// The refusal: the change must not be made then.
    pub(super) async fn begin(
        self,
        host: &Host,
        caller: &Caller,
        peer: Option<IpAddr>,
    ) -> Result<Attempt, Failure> {
        let footprint = self.footprint;
        footprint.check(host.space())?;
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
