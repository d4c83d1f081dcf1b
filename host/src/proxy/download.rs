//! The body of an answer on its way to the client: as fast as the client takes it, and no longer
//! than the program says something and the client would still be let in.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hyper::{
    Response,
    body::{Body as _, Frame, Incoming, SizeHint},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{link::Link, upstream::Upstream};
use crate::auth::Grant;

/// Why a body ended early. The client sees its connection close.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("the program broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the program said nothing for too long")]
    Idle,
    #[error("the program ended")]
    Ended,
    #[error("the token that asked for it is not valid any more, or its user has another role")]
    Revoked,
}

/// From so many frames on a body is a long one, whether or not the program was ever waited for.
const FRAMES_FEW: u32 = 16;

/// A body that is read from a program.
pub(super) struct Download {
    body: Incoming,
    /// Dropped with the body, which closes the connection; given back at the body's end.
    held: Option<Held>,
    idle: Duration,
    /// Made when the program is waited for the first time, or the body is long.
    waiting: Option<Box<Waiting>>,
    is_waiting: bool,
    /// Frames passed on, counted up to [`FRAMES_FEW`].
    frames: u32,
}

/// What an answer's body needs until its end.
pub(super) struct Held {
    pub(super) link: Link,
    pub(super) upstream: Arc<Upstream>,
    /// What lets the client read on, until it is waited for.
    pub(super) grant: Option<Grant>,
    pub(super) _permit: OwnedSemaphorePermit,
}

struct Waiting {
    silence: Pin<Box<Sleep>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    revoked: BoxFuture<'static, ()>,
}

/// The answer's body, and the link given back once it is through.
pub(super) fn stream(answer: Response<Incoming>, held: Held, idle: Duration) -> Response<Body> {
    let mut held = Some(held);
    let (parts, body) = answer.into_parts();
    if body.is_end_stream() {
        // Nobody will ask for more, and nothing is waited for.
        Held::give_back(&mut held, &mut Context::from_waker(Waker::noop()));
    }
    let download = Download {
        body,
        held,
        idle,
        waiting: None,
        is_waiting: false,
        frames: 0,
    };
    Response::from_parts(parts, Body::new(download))
}

impl Held {
    fn give_back(held: &mut Option<Self>, cx: &mut Context<'_>) {
        if let Some(mut held) = held.take()
            && held.link.settle(cx)
        {
            held.upstream.put(held.link);
        }
    }
}

impl Download {
    /// The next frame, if it is there or the connection has it.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match (&frame, &mut self.held) {
            (Poll::Pending, Some(held)) => {
                held.link.drive(cx);
                Pin::new(&mut self.body).poll_frame(cx)
            }
            (Poll::Pending, None) | (Poll::Ready(_), _) => frame,
        }
    }

    /// Whether what lets the client read on is over. A short answer that is there is not asked:
    /// it was let in a moment ago.
    fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<DownloadError> {
        if self.waiting.is_none() && self.frames < FRAMES_FEW {
            return Poll::Pending;
        }
        let Some(waiting) = self.waiting() else {
            return Poll::Pending;
        };
        let revoked = waiting.revoked.as_mut().poll(cx);
        revoked.map(|()| DownloadError::Revoked)
    }

    /// Whether the program has been waited for long enough.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<DownloadError> {
        let (idle, was_waiting) = (self.idle, self.is_waiting);
        let Some(waiting) = self.waiting() else {
            return Poll::Pending;
        };
        if !was_waiting {
            waiting.silence.as_mut().reset(Instant::now() + idle);
        }
        let ended = waiting.ended.as_mut().poll(cx).is_ready();
        let revoked = waiting.revoked.as_mut().poll(cx).is_ready();
        let idled = waiting.silence.as_mut().poll(cx).is_ready();
        self.is_waiting = true;
        if ended {
            Poll::Ready(DownloadError::Ended)
        } else if revoked {
            Poll::Ready(DownloadError::Revoked)
        } else if idled {
            Poll::Ready(DownloadError::Idle)
        } else {
            Poll::Pending
        }
    }

    /// What is waited for beside the program; `None` once the body is through.
    fn waiting(&mut self) -> Option<&mut Waiting> {
        let held = self.held.as_mut()?;
        if self.waiting.is_none() {
            let grant = held.grant.take()?;
            self.waiting = Some(Box::new(Waiting {
                silence: Box::pin(sleep(self.idle)),
                ended: Box::pin(held.upstream.ended().clone().cancelled_owned()),
                revoked: grant.over().boxed(),
            }));
        }
        self.waiting.as_deref_mut()
    }
}

impl hyper::body::Body for Download {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.poll_revoked(cx) {
            this.held = None;
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let frame = match this.poll_body(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(None) => {
                    Held::give_back(&mut this.held, cx);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    this.held = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Pending => {
                    return this.poll_patience(cx).map(|error| {
                        this.held = None;
                        Some(Err(error))
                    });
                }
            };
            this.is_waiting = false;
            this.frames = (this.frames + 1).min(FRAMES_FEW);
            // Trailers end here: nobody lists which of them may pass.
            if let Ok(data) = frame.into_data() {
                if this.body.is_end_stream() {
                    Held::give_back(&mut this.held, cx);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
