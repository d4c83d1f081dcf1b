//! One connection to a program, driven by the task that uses it. It needs no task and no channel of its
//! own, and ends as soon as its user drops it.
//!
//! ```text
//! dial ─► ask ─► the answer's head, and the connection ─► the pieces of its body ─► reusable? back to the pool
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
    error::{AskError, ConnectionError},
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
pub(super) struct ProgramConnection {
    stream: EndpointStream,
    /// The bytes that came and are not read yet.
    read_buffer: BytesMut,
    read_bytes: usize,
    send_buffer: SendBuffer,
    /// The part of the answer's body that is still to come.
    framing: Framing,
    /// Whether the connection may carry another request.
    keeps_alive: bool,
    wait: Wait,
    requests: usize,
    /// The I/O thread whose reactor reports this connection's events.
    io_thread: IoThreadId,
}

impl ProgramConnection {
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
        let stream = tokio::time::timeout(limit, endpoint.dial(port))
            .await
            .map_err(|_late| DialError::Late { port })??;
        // Boxed, since a connection is moved often.
        Ok(Box::new(Self {
            stream,
            read_buffer: BytesMut::new(),
            read_bytes: READ_BYTES_FEW,
            send_buffer: SendBuffer::default(),
            framing: Framing::Length(0),
            keeps_alive: true,
            wait: Wait::new(limit, ended),
            requests: 0,
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
        if self.requests > 0 && poll_fn(|cx| Poll::Ready(self.poll_fill(cx).is_ready())).await {
            // The connection was closed, or bytes came that nobody asked for.
            return Err(AskError::Unsent);
        }
        if self.requests > 0 && !asked.is_safe() && !self.stream.is_quiet() {
            // The connection may have been closed since the last poll. A request that must not be sent twice is
            // worth a second look at the socket.
            return Err(AskError::Unsent);
        }
        self.requests += 1;
        self.send_buffer.put(asked, upload);
        let timeouts = &asked.rules.timeouts;
        let mut head_reader = HeadReader::new(
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
            if let Poll::Ready(head) = self.poll_head(&mut head_reader, cx) {
                return Poll::Ready(head.map_err(|error| self.explain(error, &head_reader)));
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
        outcome.map(|head| (head, self))
    }

    /// Takes the whole of the answer's body; `None` if not all of it came with the head.
    pub(super) fn take_whole_body(&mut self) -> Option<Bytes> {
        let Framing::Length(length) = self.framing else {
            return None;
        };
        let length = usize::try_from(length).ok()?;
        // A copy, so that the next answer finds space in the same buffer.
        let body = Bytes::copy_from_slice(self.read_buffer.get(..length)?);
        self.read_buffer.advance(length);
        self.framing = Framing::Length(0);
        Some(body)
    }

    /// Returns the next piece of the answer's body; `None` at its end. Meanwhile the rest of the request
    /// still goes to the program.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ConnectionError>>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            match self.framing.take(&mut self.read_buffer) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            let count = match ready!(self.poll_fill(cx)) {
                Ok(count) => count,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            if count == 0 {
                let is_end = self.framing == Framing::UntilClose;
                return Poll::Ready((!is_end).then_some(Err(ConnectionError::Closed)));
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
    pub(super) fn is_body_complete(&self) -> bool {
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
    pub(super) fn into_reusable(mut self: Box<Self>) -> Option<Box<Self>> {
        let is_done = self.send_buffer.is_empty() && self.is_body_complete();
        let is_free = self.keeps_alive && is_done && self.read_buffer.is_empty();
        if self.read_buffer.capacity() > READ_BYTES_FEW {
            self.read_buffer = BytesMut::new();
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
    pub(super) fn into_stream(self) -> (EndpointStream, Bytes) {
        (self.stream, self.read_buffer.freeze())
    }

    /// Sends all there is to send. A write that fails is no error here: a program that takes no more may
    /// still answer, and its answer is the better explanation.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        match ready!(self.send_buffer.poll_send(&mut self.stream, cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(SendError::Upload(error)) => Poll::Ready(Err(error)),
            Err(SendError::Io(error)) => {
                tracing::debug!(%error, "request broke off");
                self.keeps_alive = false;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Returns the final answer of the program to a request. Leaves out interim answers.
    fn poll_head(
        &mut self,
        head_reader: &mut HeadReader<'_, ExtraHeaders>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<FinalHead, ConnectionError>> {
        loop {
            while let Some((length, received)) = head_reader.read(&self.read_buffer)? {
                self.read_buffer.advance(length);
                let ReceivedHead::Final(final_head) = received else {
                    continue;
                };
                if let FinalHead::Answer(head) = &final_head {
                    self.framing = head.framing;
                    self.keeps_alive &= head.keeps_alive;
                }
                return Poll::Ready(Ok(final_head));
            }
            let count = ready!(self.poll_fill(cx))?;
            if count == 0 {
                return Poll::Ready(Err(ConnectionError::Closed));
            }
            head_reader.take_in(count)?;
        }
    }

    /// Reads bytes that came, and returns how many; zero at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read_buffer.reserve(self.read_bytes);
        let free_bytes = self.read_buffer.capacity() - self.read_buffer.len();
        let count = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.read_buffer
        ))?;
        if count == free_bytes {
            self.read_bytes = READ_BYTES_MANY;
        }
        Poll::Ready(Ok(count))
    }

    fn explain(&self, error: ConnectionError, head: &HeadReader<'_, ExtraHeaders>) -> AskError {
        let is_closed = matches!(error, ConnectionError::Io(_) | ConnectionError::Closed);
        let error = ForwardError::Broken(error.to_string());
        if is_closed && head.has_no_bytes() && self.requests > 1 {
            AskError::Stale(error)
        } else {
            AskError::Failed(error)
        }
    }
}

fn failed<T>(error: ForwardError) -> Poll<Result<T, AskError>> {
    Poll::Ready(Err(AskError::Failed(error)))
}
