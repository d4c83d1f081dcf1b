//! A client's connection: the permits that it takes, and what is open on it by somebody's right.
//!
//! ```text
//! connection, tunnel ─► hold the connection ─► permits, given back with the last of them
//! body of an answer ──► StayCondition ───────► looked at every few seconds, by the connection itself
//! ```
//! A body is polled only when its client has taken what came before, so it can't check its own right: a client
//! that reads nothing would keep its access, and what the body holds, for ever.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hersh_base::{
    locked::locked,
    permits::{Permit, Permits, Share},
    right::CHECK_INTERVAL,
};
use hersh_program::UserId;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use crate::auth::Grant;

/// A client's connection; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct ClientConnection(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The claims of the one answer under way: one for each layer that watches it, so the list stays short.
    claims: Mutex<Vec<Arc<StayCondition>>>,
    /// The permit of the member whose request came last.
    permit: Mutex<Option<Permit>>,
    /// The permits that are given back when nobody has the connection any more.
    _permits: Option<Box<dyn Send + Sync>>,
}

/// The conditions under which something may stay open.
struct StayCondition {
    /// The grant that let the client in.
    grant: Grant,
    /// A token that fires when the container that is asked is over.
    container: Option<CancellationToken>,
}

/// Something open on a connection, until it is dropped.
pub(crate) struct OpenAnswer {
    connection: ClientConnection,
    claim: Arc<StayCondition>,
}

impl ClientConnection {
    /// Makes a connection that takes `permits`.
    pub(crate) fn new(permits: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            claims: Mutex::default(),
            permit: Mutex::default(),
            _permits: Some(Box::new(permits)),
        }))
    }

    /// Counts the connection for the member `user` until a request of somebody else comes by it, or it ends.
    /// Returns false if the user may have no more. If it counts for that user already, no permit is looked
    /// up.
    pub(crate) fn count_for(&self, user: &UserId, permits: &Permits) -> bool {
        let mut permit = locked(&self.0.permit);
        if permit.as_ref().is_none_or(|permit| permit.user() != user) {
            // The older permit is given back first, since there may be no other.
            drop(permit.take());
            *permit = permits.take(user, Share::Fair);
        }
        permit.is_some()
    }

    /// Notes that something is open as long as `grant` holds and until the end of `container`.
    pub(crate) fn open(&self, grant: Grant, container: CancellationToken) -> OpenAnswer {
        let container = Some(container);
        self.hold(StayCondition { grant, container })
    }

    fn hold(&self, claim: StayCondition) -> OpenAnswer {
        let claim = Arc::new(claim);
        self.claims().push(Arc::clone(&claim));
        let connection = self.clone();
        OpenAnswer { connection, claim }
    }

    /// Returns the same body, noted as open by `grant` until its end.
    pub(crate) fn carry(&self, body: Body, grant: Grant) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let container = None;
        let _open = self.hold(StayCondition { grant, container });
        Body::new(CarriedBody { body, _open })
    }

    /// Returns once the claim of something open no longer holds, at most [`CHECK_INTERVAL`] after that.
    pub(crate) async fn over(&self) {
        let mut looks = tokio::time::interval(CHECK_INTERVAL);
        loop {
            looks.tick().await;
            let claims = self.claims().clone();
            if !claims.iter().all(|claim| claim.holds()) {
                return;
            }
        }
    }

    fn claims(&self) -> MutexGuard<'_, Vec<Arc<StayCondition>>> {
        let claims = &self.0.claims;
        locked(claims)
    }
}

impl StayCondition {
    fn holds(&self) -> bool {
        let is_over = |container: &CancellationToken| container.is_cancelled();
        self.grant.holds() && !self.container.as_ref().is_some_and(is_over)
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        let mut claims = self.connection.claims();
        claims.retain(|claim| !Arc::ptr_eq(claim, &self.claim));
    }
}

/// The body of an answer of the host's own.
struct CarriedBody {
    body: Body,
    _open: OpenAnswer,
}

impl hyper::body::Body for CarriedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
