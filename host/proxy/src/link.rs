//! One connection to a program, driven by the task that uses it. It needs no task and no channel of its
//! own, and ends as soon as its user drops it.
//!
//! ```text
//! dial ─► ask ─► the answer's head, and the link ─► the pieces of its body ─► reusable? back to the pool
//! ```

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use hersh_answer::{FinalHead, Framing, HeadReader, Piece, ReceivedHead};
use hyper::body::SizeHint;
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

use super::{
    ForwardError,
    error::{AskError, LinkError},
    request::UpstreamRequest,
    rules::{ExtraHeaders, Rules},
    send_buffer::{SendBuffer, SendError},
    upload::{Upload, UploadError},
    wait::{Wait, WaitEnd},
};
use crate::io_threads::{self, IoThreadId};
use hersh_base::endpoint::{DialError, Endpoint, EndpointStream};

/// The bytes read at once: few at first, many once an answer is long.
const READ_BYTES_FEW: usize = 8 * 1024;
const READ_BYTES_MANY: usize = 64 * 1024;

/// One connection to a program, and how far its request and answer are.
pub(super) struct Link {
    wire: EndpointStream,
    /// The bytes that came and are not read yet.
    inbox: BytesMut,
    read_bytes: usize,
    send_buffer: SendBuffer,
    /// The part of the answer's body that is still to come.
    framing: Framing,
    /// Whether the connection may carry another request.
    keeps_alive: bool,
    wait: Wait,
    uses: usize,
    /// The I/O thread whose reactor reports this connection's events.
    io_thread: IoThreadId,
}

impl Link {
    /// Connects to a program.
    ///
    /// # Errors
    /// [`ForwardError::Unreachable`].
    pub(super) async fn dial(
        endpoint: &Endpoint,
        rules: &Rules,
        ended: CancellationToken,
    ) -> Result<Box<Self>, ForwardError> {
        let (port, limit) = (rules.port, rules.timeouts.connect);
        let wire = tokio::time::timeout(limit, endpoint.dial(port))
            .await
            .map_err(|_late| DialError::Late { port })??;
        // Boxed, since a link is moved often.
        Ok(Box::new(Self {
            wire,
            inbox: BytesMut::new(),
            read_bytes: READ_BYTES_FEW,
            send_buffer: SendBuffer::default(),
            framing: Framing::Length(0),
            keeps_alive: true,
            wait: Wait::new(limit, ended),
            uses: 0,
            io_thread: io_threads::here(),
        }))
    }

    /// Sends a request with `upload`, which it takes, and waits for the program's answer. A long wait goes on
    /// only as long as `may_go_on` returns true: it is called every few seconds.
    ///
    /// # Errors
    /// [`AskError`]; the connection is closed then.
    pub(super) async fn ask(
        mut self: Box<Self>,
        asked: &UpstreamRequest<'_>,
        upload: &mut Option<Upload>,
        may_go_on: impl Fn() -> bool,
    ) -> Result<(FinalHead, Box<Self>), AskError> {
        if self.uses > 0 && poll_fn(|cx| Poll::Ready(self.poll_fill(cx).is_ready())).await {
            // The connection was closed, or bytes came that nobody asked for.
            return Err(AskError::Unsent);
        }
        if self.uses > 0 && !asked.is_safe() && !self.wire.is_quiet() {
            // The connection may have been closed since the last poll. A request that must not be sent twice is
            // worth a second look at the socket.
            return Err(AskError::Unsent);
        }
        self.uses += 1;
        self.send_buffer.put(asked, upload);
        let timeouts = &asked.rules.timeouts;
        let mut hearing = HeadReader::new(
            asked.is_head(),
            asked.rules.head_bytes_max,
            &asked.rules.extra,
        );
        let mut is_sent = self.send_buffer.is_whole();
        let first = if is_sent {
            timeouts.answer
        } else {
            timeouts.upload
        };
        self.wait.set_with_looks(first);
        let outcome = poll_fn(|cx| {
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => return failed(error.into()),
                Poll::Ready(Ok(())) if !is_sent => {
                    is_sent = true;
                    self.wait.set_with_looks(timeouts.answer);
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if let Poll::Ready(said) = self.poll_said(&mut hearing, cx) {
                return Poll::Ready(said.map_err(|error| self.explain(error, &hearing)));
            }
            self.wait.poll_looking(&may_go_on, cx).map(|why| {
                Err(AskError::Failed(match why {
                    None => ForwardError::Revoked,
                    Some(WaitEnd::Ended) => ForwardError::Ended,
                    Some(WaitEnd::Late) if self.send_buffer.waits_for_client() => {
                        ForwardError::BodyLate(timeouts.upload.as_secs())
                    }
                    Some(WaitEnd::Late) => ForwardError::Late(timeouts.answer.as_secs()),
                }))
            })
        })
        .await;
        outcome.map(|said| (said, self))
    }

    /// Takes the whole of the answer's body; `None` if not all of it came with the head.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        let Framing::Length(length) = self.framing else {
            return None;
        };
        let length = usize::try_from(length).ok()?;
        // A copy, so that the next answer finds room in the same buffer.
        let body = Bytes::copy_from_slice(self.inbox.get(..length)?);
        self.inbox.advance(length);
        self.framing = Framing::Length(0);
        Some(body)
    }

    /// Returns the next piece of the answer's body; `None` at its end. Meanwhile the rest of the request
    /// still goes to the program.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, LinkError>>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            match self.framing.take(&mut self.inbox) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            let came = match ready!(self.poll_fill(cx)) {
                Ok(came) => came,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            if came == 0 {
                let is_end = self.framing == Framing::UntilClose;
                return Poll::Ready((!is_end).then_some(Err(LinkError::Closed)));
            }
        }
    }

    /// Gives the program `time` from now on to say something.
    pub(super) fn wait_at_most(&mut self, time: Duration) {
        self.wait.set(time);
    }

    /// Polls for the end of the wait, and returns why it ended.
    pub(super) fn poll_wait_end(&mut self, cx: &mut Context<'_>) -> Poll<WaitEnd> {
        self.wait.poll(cx)
    }

    /// Returns whether the answer's body has been read to its end.
    pub(super) fn is_through(&self) -> bool {
        self.framing.is_over()
    }

    /// Returns how much of the answer's body is still to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(length) => SizeHint::with_exact(length),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::new(),
        }
    }

    /// Returns the connection, if the request was sent and its answer read to the end, and another request may
    /// follow. Otherwise closes it.
    pub(super) fn freed(mut self: Box<Self>) -> Option<Box<Self>> {
        let is_done = self.send_buffer.is_empty() && self.is_through();
        let is_free = self.keeps_alive && is_done && self.inbox.is_empty();
        if self.inbox.capacity() > READ_BYTES_FEW {
            self.inbox = BytesMut::new();
            self.read_bytes = READ_BYTES_FEW;
        }
        self.send_buffer.trim();
        is_free.then_some(self)
    }

    /// Returns the I/O thread that the connection was dialled in. In any other thread, each event of the
    /// connection would have to cross threads.
    pub(super) fn io_thread(&self) -> IoThreadId {
        self.io_thread
    }

    /// Returns the connection itself after [`FinalHead::Switch`], with the bytes that came behind that answer.
    pub(super) fn into_wire(self) -> (EndpointStream, Bytes) {
        (self.wire, self.inbox.freeze())
    }

    /// Sends all there is to send. A write that fails is no error here: a program that takes no more may
    /// still answer, and its answer is the better explanation.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        match ready!(self.send_buffer.poll_send(&mut self.wire, cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(SendError::Upload(error)) => Poll::Ready(Err(error)),
            Err(SendError::Wire(error)) => {
                tracing::debug!(%error, "request broke off");
                self.keeps_alive = false;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Returns the final answer of the program to a request. Leaves out interim answers.
    fn poll_said(
        &mut self,
        hearing: &mut HeadReader<'_, ExtraHeaders>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<FinalHead, LinkError>> {
        loop {
            while let Some((length, spoken)) = hearing.read(&self.inbox)? {
                self.inbox.advance(length);
                let ReceivedHead::Final(said) = spoken else {
                    continue;
                };
                if let FinalHead::Answer(head) = &said {
                    self.framing = head.framing;
                    self.keeps_alive &= head.keeps_alive;
                }
                return Poll::Ready(Ok(said));
            }
            let came = ready!(self.poll_fill(cx))?;
            if came == 0 {
                return Poll::Ready(Err(LinkError::Closed));
            }
            hearing.take_in(came)?;
        }
    }

    /// Reads bytes that came, and returns how many; zero at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.reserve(self.read_bytes);
        let room = self.inbox.capacity() - self.inbox.len();
        let came = ready!(poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.inbox))?;
        if came == room {
            self.read_bytes = READ_BYTES_MANY;
        }
        Poll::Ready(Ok(came))
    }

    fn explain(&self, error: LinkError, hearing: &HeadReader<'_, ExtraHeaders>) -> AskError {
        let is_closed = matches!(error, LinkError::Wire(_) | LinkError::Closed);
        let error = ForwardError::Broken(error.to_string());
        if is_closed && hearing.is_nothing() && self.uses > 1 {
            AskError::Stale(error)
        } else {
            AskError::Failed(error)
        }
    }
}

fn failed<T>(error: ForwardError) -> Poll<Result<T, AskError>> {
    Poll::Ready(Err(AskError::Failed(error)))
}
