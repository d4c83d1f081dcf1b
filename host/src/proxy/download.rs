//! The body of an answer on its way to the client: as fast as the client takes it, and no longer
//! than the program says something and the client would still be let in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hyper::{
    body::{Frame, SizeHint},
    header::{HeaderName, HeaderValue},
};

use super::{
    error::LinkError,
    events::{self, Events},
    keep_alive,
    link::{GivenUp, Link},
    upstream::Permit,
};
use crate::auth::Grant;

/// Why a body ended early. The client sees its connection close.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("the program broke off: {0}")]
    Broken(#[from] LinkError),
    #[error("the program said nothing for too long")]
    Silent,
    #[error("the program ended")]
    Ended,
    #[error("the token that asked for it is not valid any more, or its user has another role")]
    Revoked,
}

/// From so many pieces on a body is a long one, whether or not the program was ever waited for.
const PIECES_FEW: u32 = 16;

/// A body that is read from a program.
struct Download {
    /// Dropped with the body, which closes the connection; given back at the body's end.
    held: Option<Held>,
    /// How long the program may say nothing.
    silence: Duration,
    /// Where a stream of events stands: between two of them the host itself may say something.
    events: Option<Events>,
    /// What revokes it; made when the program is waited for the first time, or the body is long.
    revoked: Option<BoxFuture<'static, ()>>,
    is_waiting: bool,
    /// Pieces passed on, counted up to [`PIECES_FEW`].
    pieces: u32,
}

/// What an answer's body needs until its end.
struct Held {
    link: Box<Link>,
    permit: Permit,
    /// What lets the client read on, until it is waited for.
    grant: Option<Grant>,
}

/// The body of the answer that `link` has begun to read; the link is given back once it is through.
/// Whoever reads on for longer does so by `grant`. `headers` tell what the body is.
pub(super) fn stream(
    mut link: Box<Link>,
    permit: Permit,
    grant: impl FnOnce() -> Grant,
    headers: &[(HeaderName, HeaderValue)],
) -> Body {
    if let Some(body) = link.whole() {
        give_back(link, &permit);
        return Body::from(body);
    }
    let has_length = link.size_hint().exact().is_some();
    Body::new(Download {
        silence: permit.upstream().rules().patience.silence,
        events: (!has_length && events::are_told(headers)).then(Events::default),
        held: Some(Held {
            link,
            permit,
            grant: Some(grant()),
        }),
        revoked: None,
        is_waiting: false,
        pieces: 0,
    })
}

fn give_back(link: Box<Link>, permit: &Permit) {
    if let Some(link) = link.freed() {
        permit.upstream().put(link);
    }
}

impl Download {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DownloadError>>> {
        if let Poll::Ready(error) = self.poll_revoked(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(held) = &mut self.held else {
            return Poll::Ready(None);
        };
        match held.link.poll_body(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.is_waiting = false;
                self.pieces = (self.pieces + 1).min(PIECES_FEW);
                if let Some(events) = &mut self.events {
                    events.pass(&data);
                }
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_patience(cx).map(Some),
        }
    }

    /// Whether what lets the client read on is over. A short answer that is there is not asked:
    /// it was let in a moment ago.
    fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<DownloadError> {
        if self.revoked.is_none() {
            if self.pieces < PIECES_FEW && !self.is_waiting {
                return Poll::Pending;
            }
            let grant = self.held.as_mut().and_then(|held| held.grant.take());
            self.revoked = grant.map(|grant| grant.over().boxed());
        }
        let Some(revoked) = &mut self.revoked else {
            return Poll::Pending;
        };
        revoked.as_mut().poll(cx).map(|()| DownloadError::Revoked)
    }

    /// What comes of it that the program has been waited for long enough, or by whoever may not.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DownloadError>> {
        let was_waiting = std::mem::replace(&mut self.is_waiting, true);
        let may_speak = self.events.as_ref().is_some_and(Events::is_between);
        if let Some(held) = &mut self.held {
            if !was_waiting {
                held.link.wait_at_most(if may_speak {
                    keep_alive(self.silence)
                } else {
                    self.silence
                });
            }
            match held.link.poll_given_up(cx) {
                Poll::Ready(GivenUp::Ended) => return Poll::Ready(Err(DownloadError::Ended)),
                Poll::Ready(GivenUp::Late) if may_speak => {
                    // What comes next is waited for anew.
                    self.is_waiting = false;
                    return Poll::Ready(Ok(events::COMMENT));
                }
                Poll::Ready(GivenUp::Late) => return Poll::Ready(Err(DownloadError::Silent)),
                Poll::Pending => {}
            }
        }
        self.poll_revoked(cx).map(Err)
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
        let next = this.poll_next(cx);
        let held = match &next {
            Poll::Ready(Some(Err(_))) => {
                this.held = None;
                None
            }
            Poll::Ready(None) => this.held.take(),
            Poll::Ready(Some(Ok(_))) => this.held.take_if(|held| held.link.is_through()),
            Poll::Pending => None,
        };
        if let Some(held) = held {
            give_back(held.link, &held.permit);
        }
        next.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.held
            .as_ref()
            .map_or_else(none, |held| held.link.size_hint())
    }
}
