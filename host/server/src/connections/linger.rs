//! A connection that is closed while its client still sends, so that the client gets to read what it was
//! told. If the connection were closed at once, the kernel would answer what still comes by a reset, and the
//! reset would take the answer out of the client's hands.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hersh_base::deadline::Deadline;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a client may go on sending what nobody reads, and how much of it, bytes.
const TIME_MAX: Duration = Duration::from_secs(10);
const BYTES_MAX: u64 = 1 << 30;
/// The bytes that are dropped at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// A flag that says whether a connection's client may still send a body that nobody reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadFlag(Arc<AtomicBool>);

impl UnreadFlag {
    fn set(&self, unread: bool) {
        self.0.store(unread, Ordering::Relaxed);
    }
}

/// The body of a request, which says whether all of it was read.
pub(crate) struct CountedBody {
    body: Incoming,
    unread: UnreadFlag,
}

impl CountedBody {
    pub(crate) fn new(body: Incoming, unread: &UnreadFlag) -> Self {
        unread.set(!body.is_end_stream());
        let unread = unread.clone();
        Self { body, unread }
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.unread
            .set(frame.is_some() && !self.body.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose shutdown lets its client finish, if that still sends.
pub(crate) struct LingeringStream<T> {
    stream: T,
    unread: UnreadFlag,
    /// The deadline of the client, set once this side has said that it sends no more.
    waits: Option<Deadline>,
    left: u64,
}

impl<T> LingeringStream<T> {
    pub(crate) fn new(stream: T, unread: UnreadFlag) -> Self {
        Self {
            stream,
            unread,
            waits: None,
            left: BYTES_MAX,
        }
    }
}

impl<T: AsyncRead + Unpin> LingeringStream<T> {
    /// Drops what comes until the client closes its side too.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
            let came = read.filled().len() as u64;
            match polled {
                Poll::Ready(Ok(())) if came > 0 && came <= self.left => self.left -= came,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    return match &mut self.waits {
                        Some(deadline) => deadline.poll(cx),
                        None => Poll::Ready(()),
                    };
                }
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for LingeringStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waits.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.0.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            this.waits = Some(Deadline::after(TIME_MAX));
        }
        this.poll_drain(cx).map(Ok)
    }
}
