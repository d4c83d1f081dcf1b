//! A WebSocket after its handshake. Bytes go both ways until either side ends the tunnel, both sides are
//! silent for too long, the program's instance has ended, or the client would not be let in any more.
//!
//! The host pings the client at every check for silence, and sends close frames when it ends the tunnel:
//! both only between two frames, since bytes put into the middle of a frame would corrupt it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use hersh_base::deadline::Deadline;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

use super::{
    frames::{self, FramePosition},
    keep_alive,
};
use hersh_base::endpoint::EndpointStream;

/// The bytes that may wait in each direction, beside a frame of the host's own.
const BUFFER_BYTES: usize = 8 * 1024;
/// The most time that the host spends on sending its close frames: a side may take nothing.
const FAREWELL: Duration = Duration::from_secs(1);

/// The codes of RFC 6455 for the ends that a host brings about.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// A tunnel that its handshake allows.
pub(super) struct Tunnel {
    /// The client's side, once its 101 is written.
    pub(super) client: OnUpgrade,
    pub(super) program: EndpointStream,
    /// The bytes that the program sent right behind its 101.
    pub(super) early: Bytes,
    pub(super) ends: EndSignals,
}

/// What ends a tunnel, beside its two sides.
pub(super) struct EndSignals {
    /// The token that fires when the instance is over.
    pub(super) program: CancellationToken,
    /// A future that resolves when the client would not be let in any more.
    pub(super) revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How long both sides may be silent. Checked in steps, so the end may come up to half as long later.
    pub(super) silence: Duration,
}

/// Why a tunnel ends.
#[derive(Debug)]
enum EndReason {
    /// Both sides have sent all they had.
    Done,
    Broken(io::Error),
    Silent,
    Ended,
    Revoked,
}

impl Tunnel {
    /// Carries bytes until the end.
    pub(super) async fn run(self) {
        let client = match self.client.await {
            Ok(client) => TokioIo::new(client),
            Err(error) => return tracing::debug!(%error, "no tunnel was made"),
        };
        let mut relay = Relay::new(client, self.program, self.ends.silence);
        relay.toward_client.take_in(&self.early);
        let over = tokio::select! {
            over = poll_fn(|cx| relay.poll(cx)) => over,
            () = self.ends.program.cancelled() => EndReason::Ended,
            () = self.ends.revoked => EndReason::Revoked,
        };
        if let EndReason::Broken(error) = &over {
            tracing::debug!(%error, "tunnel broke");
        } else {
            tracing::debug!(?over, "tunnel ended");
        }
        relay.part(&over).await;
    }
}

/// Both sides, and what is between them.
struct Relay<C, P> {
    client: C,
    program: P,
    toward_client: Direction,
    toward_program: Direction,
    silence: Duration,
    /// The time of the next check for silence. `silent_for` is the silence counted up to the last check.
    look: Deadline,
    silent_for: Duration,
    has_moved: bool,
}

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    fn new(client: C, program: P, silence: Duration) -> Self {
        Self {
            client,
            program,
            toward_client: Direction::default(),
            toward_program: Direction::default(),
            silence,
            look: Deadline::after(keep_alive(silence)),
            silent_for: Duration::ZERO,
            has_moved: false,
        }
    }

    /// Carries bytes until the tunnel is over, and returns why it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        loop {
            let moved = &mut self.has_moved;
            let one = self
                .toward_client
                .poll(&mut self.program, &mut self.client, moved, cx);
            let other = self
                .toward_program
                .poll(&mut self.client, &mut self.program, moved, cx);
            match (one, other) {
                (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                    return Poll::Ready(EndReason::Broken(error));
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(EndReason::Done),
                (Poll::Pending, _) | (_, Poll::Pending) => {}
            }
            ready!(self.look.poll(cx));
            if self.is_silent() {
                return Poll::Ready(EndReason::Silent);
            }
            // Polls again: the ping must be written, and the timer for the next check must register its waker.
        }
    }

    /// Returns whether nothing was read from either side for too long. If not, pings the client and sets the
    /// next check.
    fn is_silent(&mut self) -> bool {
        let step = keep_alive(self.silence);
        if std::mem::take(&mut self.has_moved) {
            self.silent_for = Duration::ZERO;
        } else {
            self.silent_for += step;
            if self.silent_for >= self.silence {
                return true;
            }
        }
        self.toward_client.put(frames::PING);
        self.look.set(step);
        false
    }

    /// Sends close frames with the reason, but none into the middle of a frame.
    async fn part(&mut self, over: &EndReason) {
        let (code, reason) = match over {
            EndReason::Done | EndReason::Broken(_) => return,
            EndReason::Silent => (
                GOING_AWAY,
                format!("nothing came for {} s", self.silence.as_secs()),
            ),
            EndReason::Ended => (GOING_AWAY, "the program was stopped or ended".to_owned()),
            EndReason::Revoked => (
                POLICY,
                "the token that opened this is not valid any more".to_owned(),
            ),
        };
        self.toward_client.put(&frames::close(code, &reason, false));
        if !matches!(over, EndReason::Ended) {
            self.toward_program.put(&frames::close(code, &reason, true));
        }
        let farewell = async {
            // A side that is gone needs no close frame.
            let _ = self.client.write_all(&self.toward_client.buffer).await;
            let _ = self.client.shutdown().await;
            let _ = self.program.write_all(&self.toward_program.buffer).await;
            let _ = self.program.shutdown().await;
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Direction {
    /// The bytes that came and are not sent yet.
    buffer: BytesMut,
    /// Where in a frame the last byte taken in lies, which decides whether the host may add a frame.
    frames: FramePosition,
    is_flushed: bool,
    /// Whether all was read: nothing more comes.
    is_read: bool,
    is_over: bool,
}

impl Direction {
    /// Takes bytes into the buffer.
    fn take_in(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.frames.pass(bytes);
        self.is_flushed = false;
    }

    /// Puts in a frame of the host's own, if the direction is between two frames and not at its end.
    fn put(&mut self, frame: &[u8]) {
        if self.frames.is_between() && !self.is_read {
            self.take_in(frame);
        }
    }

    /// Carries bytes `from` one side `to` the other. Is ready once all bytes are through.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        has_moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !self.buffer.is_empty() {
                let sent = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.buffer.advance(sent);
            }
            if !self.is_flushed {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                self.is_flushed = true;
            }
            if self.is_read {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.is_over = true;
                return Poll::Ready(Ok(()));
            }
            self.buffer.reserve(BUFFER_BYTES);
            let came = ready!(poll_read_buf(Pin::new(&mut *from), cx, &mut self.buffer))?;
            self.is_read = came == 0;
            self.frames.pass(&self.buffer);
            self.is_flushed = false;
            *has_moved = true;
        }
    }
}
