//! Ends what a request opened once the caller has lost the right to it: the handler, the request's
//! body and the answer's body. The pipeline runs the router's handlers in this guard, so that no
//! handler can forget to check.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hersh_base::right::CHECK_INTERVAL;
use hersh_journal::JournalError;
use hyper::body::{Frame, SizeHint};

use crate::{api::problem::Failure, auth::Grant};

/// The most bytes of a body that are passed on at once. The grant can be checked between two pieces.
const PIECE_BYTES: usize = 64 * 1024;
/// A body of this many pieces or more counts as long. The grant of a long body is checked even if the body
/// never had to be waited for.
const LONG_BODY_PIECES: u32 = 16;

/// Guards the body of a request: it breaks off once the grant no longer holds.
pub(super) fn guard_request(grant: &Grant, request: &mut Request) {
    let body = std::mem::take(request.body_mut());
    if !body.is_end_stream() {
        *request.body_mut() = GuardedBody::wrap(body, grant, End::Broken);
    }
}

/// Waits for `answer` and guards its body, for as long as the grant holds. If the grant ends before
/// `answer` is there, returns a failure instead.
pub(super) async fn guard_response(
    grant: &Grant,
    answer: impl Future<Output = Response>,
) -> Response {
    match while_holds(answer, grant).await {
        Ok(answer) => {
            let end = End::of(answer.headers());
            answer.map(|body| match body.size_hint().exact() {
                // A short body of known length goes out at once anyway.
                Some(length) if length <= PIECE_BYTES as u64 => body,
                Some(_) | None => GuardedBody::wrap(body, grant, end),
            })
        }
        Err(error) => Failure::from(error).into_response(),
    }
}

/// Waits for `work` for as long as the grant holds. The grant was checked a moment ago, so work that is
/// done within [`CHECK_INTERVAL`] costs no further check.
///
/// # Errors
/// [`JournalError::Revoked`] when the grant ends before the work is done.
async fn while_holds<T>(work: impl Future<Output = T>, grant: &Grant) -> Result<T, JournalError> {
    let mut work = pin!(work);
    let mut grant = Some(grant);
    let mut grant_end: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Some(grant) = grant.take() {
            let grant = grant.clone();
            let later = async move {
                tokio::time::sleep(CHECK_INTERVAL).await;
                grant.over().await;
            };
            grant_end = Some(later.boxed());
        }
        match &mut grant_end {
            Some(grant_end) => grant_end
                .poll_unpin(cx)
                .map(|()| Err(JournalError::Revoked)),
            None => Poll::Pending,
        }
    })
    .await
}

/// How a guarded body ends when the grant ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The body ends with an error, so that nobody takes a part for the whole.
    Broken,
    /// The body ends without an error: a stream of events has no end that a client could miss.
    Plain,
}

impl End {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
        if is_stream { Self::Plain } else { Self::Broken }
    }
}

/// A body that ends early if its grant ends, which is the one that it was opened with.
struct GuardedBody {
    body: Body,
    end: End,
    /// The grant, until it is checked for the first time: when the body has to be waited for, or is long.
    grant: Option<Grant>,
    /// The wait for the end of the grant; `None` until the grant is checked for the first time.
    grant_end: Option<BoxFuture<'static, ()>>,
    /// The part of the last frame that is not passed on yet.
    rest: Bytes,
    pieces: u32,
    is_over: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the token of this request is not valid any more, or its user has another role")]
struct Revocation;

impl GuardedBody {
    fn wrap(body: Body, grant: &Grant, end: End) -> Body {
        Body::new(Self {
            body,
            end,
            grant: Some(grant.clone()),
            grant_end: None,
            rest: Bytes::new(),
            pieces: 0,
            is_over: false,
        })
    }

    /// Polls for the end of the grant. Ready means that the body may not go on.
    fn poll_grant_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(grant) = self.grant.take() {
            self.grant_end = Some(grant.over().boxed());
        }
        match &mut self.grant_end {
            Some(grant_end) => grant_end.poll_unpin(cx),
            None => Poll::Pending,
        }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        self.pieces = (self.pieces + 1).min(LONG_BODY_PIECES);
        let length = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(length))
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let mut polled = Poll::Pending;
        if !this.rest.is_empty() {
            polled = Poll::Ready(Some(Ok(this.piece())));
        } else if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            polled = Poll::Ready(frame.map(|frame| {
                frame.map(|frame| match frame.into_data() {
                    Ok(data) => {
                        this.rest = data;
                        this.piece()
                    }
                    Err(frame) => frame,
                })
            }));
        }
        if polled.is_ready() && this.pieces < LONG_BODY_PIECES {
            return polled;
        }
        if this.poll_grant_end(cx).is_pending() {
            return polled;
        }
        this.is_over = true;
        this.body = Body::empty();
        Poll::Ready(match this.end {
            End::Broken => Some(Err(axum::Error::new(Revocation))),
            End::Plain => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole.set_lower(hint.lower().saturating_add(rest));
        whole
    }
}
