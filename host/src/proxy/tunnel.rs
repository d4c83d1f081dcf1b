//! A WebSocket after its handshake: bytes both ways, until either side ends it, nothing moves for
//! a while, the program's container is over, or whoever opened it would not be let in any more.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::{auth::Grant, place::Wire};

/// Bytes that wait in each direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// A tunnel that its handshake allows.
pub(super) struct Tunnel {
    /// The client's side, once its 101 is written.
    pub(super) client: OnUpgrade,
    pub(super) program: Wire,
    /// What the program sent right behind its 101.
    pub(super) early: Bytes,
    pub(super) ends: Ends,
}

/// What ends a tunnel, beside its two sides.
pub(super) struct Ends {
    /// The container is over.
    pub(super) program: CancellationToken,
    /// Whoever opened it would not be let in any more.
    pub(super) grant: Grant,
    /// How long nothing may move; at most twice that is waited.
    pub(super) idle: Duration,
}

impl Tunnel {
    /// Carries bytes until the end. Errors have nobody to be told to: both sides see a closed
    /// connection.
    pub(super) async fn run(self) {
        let moved = Arc::new(AtomicU64::new(0));
        let carrying = async {
            let client = TokioIo::new(self.client.await.map_err(io::Error::other)?);
            let mut client = Counted::new(client, &moved);
            let mut program = Counted::new(self.program, &moved);
            client.write_all(&self.early).await?;
            let sizes = (BUFFER_BYTES, BUFFER_BYTES);
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut program, sizes.0, sizes.1)
                .await
        };
        tokio::select! {
            carried = carrying => {
                if let Err(error) = carried {
                    tracing::debug!(%error, "tunnel broke");
                }
            }
            () = silence(&moved, self.ends.idle) => tracing::debug!("tunnel was idle"),
            () = self.ends.program.cancelled() => {}
            () = self.ends.grant.over() => tracing::debug!("tunnel's token or user is over"),
        }
    }
}

/// Resolves when nothing was moved from one look to the next.
async fn silence(moved: &AtomicU64, idle: Duration) {
    let mut seen = None;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if seen == Some(now) {
            return;
        }
        seen = Some(now);
        tokio::time::sleep(idle).await;
    }
}

/// One side, with what is read from it counted.
struct Counted<T> {
    side: T,
    moved: Arc<AtomicU64>,
}

impl<T> Counted<T> {
    fn new(side: T, moved: &Arc<AtomicU64>) -> Self {
        let moved = Arc::clone(moved);
        Self { side, moved }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.side).poll_read(cx, buffer))?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.side).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_shutdown(cx)
    }
}
