//! One connection to a program, driven by whoever uses it: no task, no channel between tasks, and
//! an end as soon as its user goes.
//!
//! ```text
//! dial ─► ask ─► answer's head, and the link ─► download polls it ─► settle ─► back to the pool
//! ```

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    ForwardError, Patience,
    request::{Progress, Stage, Upload},
};
use crate::place::{ConnectError, Place, WATCHER_PORT, Wire};

/// Bytes of the head of an answer. The HTTP library itself takes at most 100 headers.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes that may come before the end of an answer's head, interim answers (1xx) included.
const BEFORE_BODY_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// One connection.
pub(super) struct Link {
    sender: SendRequest<Upload>,
    /// Apart, because it is large and a link is moved often.
    connection: Box<Connection<TokioIo<Metered>, Upload>>,
    /// Goes off when the request under way has taken too long.
    deadline: Pin<Box<Sleep>>,
    /// Bytes that came since the last request began.
    taken: Arc<AtomicUsize>,
    /// The connection's own work is over.
    is_over: bool,
    uses: usize,
}

/// Why there is no answer.
pub(super) enum AskError {
    /// The connection was over before anything was sent; the request comes back.
    Unsent(Box<Request<Upload>>),
    /// It was closed after the request was sent, before a byte came, and had served before: the
    /// program most likely closed it as idle at that moment.
    Stale(ForwardError),
    /// Anything else.
    Failed(ForwardError),
}

/// What a program's first words are waited for with.
pub(super) struct Waiting<'a> {
    pub(super) progress: Progress,
    pub(super) patience: &'a Patience,
    pub(super) ended: &'a CancellationToken,
}

impl Link {
    /// Connects to a program.
    ///
    /// # Errors
    /// [`ForwardError::Unreachable`] or [`ForwardError::Late`].
    pub(super) async fn dial(place: &Place, limit: Duration) -> Result<Self, ForwardError> {
        let wire = tokio::time::timeout(limit, place.connect(WATCHER_PORT))
            .await
            .map_err(|_| {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                let port = WATCHER_PORT;
                ConnectError::Port { port, source }
            })??;
        let taken = Arc::new(AtomicUsize::new(0));
        let metered = Metered {
            wire,
            taken: Arc::clone(&taken),
        };
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .writev(false)
            .handshake(TokioIo::new(metered))
            .await
            .map_err(|error| broken(&error))?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            deadline: Box::pin(sleep(limit)),
            taken,
            is_over: false,
            uses: 0,
        })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`AskError`]; the connection is closed then.
    pub(super) async fn ask(
        mut self,
        request: Request<Upload>,
        waiting: Waiting<'_>,
    ) -> Result<(Response<Incoming>, Self), AskError> {
        self.uses += 1;
        self.taken.store(0, Ordering::Relaxed);
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut is_sent = waiting.progress.stage() == Stage::Done;
        let patience = waiting.patience;
        let first = if is_sent {
            patience.answer
        } else {
            patience.upload
        };
        self.deadline.as_mut().reset(Instant::now() + first);
        let mut ended = pin!(waiting.ended.cancelled());
        let outcome = poll_fn(|cx| {
            // First the connection: it writes the request and reads the answer.
            if !self.is_over {
                self.is_over = Pin::new(&mut *self.connection).poll(cx).is_ready();
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                    Some(request) => AskError::Unsent(Box::new(request)),
                    None => self.explain(error.error(), &waiting.progress),
                }));
            }
            if self.taken.load(Ordering::Relaxed) > BEFORE_BODY_BYTES_MAX {
                let message = format!("more than {BEFORE_BODY_BYTES_MAX} bytes before its body");
                return failed(ForwardError::Broken(message));
            }
            if !is_sent && waiting.progress.stage() == Stage::Done {
                is_sent = true;
                let deadline = Instant::now() + patience.answer;
                self.deadline.as_mut().reset(deadline);
            }
            if self.deadline.as_mut().poll(cx).is_ready() {
                return failed(match waiting.progress.stage() {
                    Stage::Client => ForwardError::BodyLate(patience.upload.as_secs()),
                    Stage::Program | Stage::Done | Stage::TooLarge | Stage::Broken => {
                        ForwardError::Late(patience.answer.as_secs())
                    }
                });
            }
            if ended.as_mut().poll(cx).is_ready() {
                return failed(ForwardError::Ended);
            }
            Poll::Pending
        })
        .await;
        outcome.map(|answer| (answer, self))
    }

    /// Drives the connection while an answer's body is read.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.is_over {
            self.is_over = Pin::new(&mut *self.connection).poll(cx).is_ready();
        }
    }

    /// After the end of a body: whether the connection is ready for the next request.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.is_over && self.sender.is_ready()
    }

    /// The connection itself after an answer of 101, with what came behind that answer.
    pub(super) async fn into_wire(mut self) -> (Wire, Bytes) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.is_over {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let parts = (*self.connection).into_parts();
        (parts.io.into_inner().wire, parts.read_buf)
    }

    fn explain(&self, error: &hyper::Error, progress: &Progress) -> AskError {
        match progress.stage() {
            Stage::TooLarge => AskError::Failed(ForwardError::BodyTooLarge),
            Stage::Broken => AskError::Failed(ForwardError::BodyBroken),
            Stage::Program | Stage::Client | Stage::Done => {
                let nothing_came = self.taken.load(Ordering::Relaxed) == 0;
                if nothing_came && self.uses > 1 {
                    AskError::Stale(broken(error))
                } else {
                    AskError::Failed(broken(error))
                }
            }
        }
    }
}

fn failed<T>(error: ForwardError) -> Poll<Result<T, AskError>> {
    Poll::Ready(Err(AskError::Failed(error)))
}

fn broken(error: &hyper::Error) -> ForwardError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    ForwardError::Broken(message)
}

/// A connection that counts what comes.
struct Metered {
    wire: Wire,
    taken: Arc<AtomicUsize>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buffer))?;
        let came = buffer.filled().len() - before;
        self.taken.fetch_add(came, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
