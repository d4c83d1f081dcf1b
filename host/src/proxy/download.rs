//! The body of an answer on its way to the client: as fast as the client takes it, and no longer
//! than the program says something.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
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

/// Why a body ended early. The client sees its connection close.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("the program broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the program said nothing for too long")]
    Idle,
    #[error("the program ended")]
    Ended,
}

/// A body that is read from a program.
pub(super) struct Download {
    body: Incoming,
    /// Dropped with the body, which closes the connection; given back at the body's end.
    held: Option<Held>,
    idle: Duration,
    /// Made when the program is waited for the first time.
    waiting: Option<Pin<Box<Waiting>>>,
    is_waiting: bool,
}

struct Held {
    link: Link,
    upstream: Arc<Upstream>,
    _permit: OwnedSemaphorePermit,
}

struct Waiting {
    silence: Pin<Box<Sleep>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The answer's body, and the link given back once it is through.
pub(super) fn stream(
    answer: Response<Incoming>,
    link: Link,
    upstream: Arc<Upstream>,
    permit: OwnedSemaphorePermit,
    idle: Duration,
) -> Response<Body> {
    let mut held = Some(Held {
        link,
        upstream,
        _permit: permit,
    });
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

    /// Whether the program has been waited for long enough.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<DownloadError> {
        let Some(held) = &self.held else {
            return Poll::Pending;
        };
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::pin(Waiting {
                silence: Box::pin(sleep(self.idle)),
                ended: Box::pin(held.upstream.ended().clone().cancelled_owned()),
            })
        });
        if !self.is_waiting {
            self.is_waiting = true;
            waiting.silence.as_mut().reset(Instant::now() + self.idle);
        }
        if waiting.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(DownloadError::Ended);
        }
        waiting
            .silence
            .as_mut()
            .poll(cx)
            .map(|()| DownloadError::Idle)
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
