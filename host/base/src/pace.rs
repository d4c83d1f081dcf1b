//! The least pace that a client must keep while the host waits for it. Without it, a client that sends or
//! takes a byte now and then would hold a thread, a permit and a file for hours.
//!
//! ```text
//! waiting adds up ─► each byte pays for a part of it ─► more than the patience is owed: given up
//! ```
//! Time that the host itself takes does not count, and bytes that went fast do not pay for a later wait.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::deadline::Deadline;

/// The least number of bytes per second in the long run, in either direction: 128 kbit/s.
const LEAST_BYTES_PER_SECOND: u32 = 16 * 1024;

/// The time that a client has kept the host waiting, less the time that its bytes have paid for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    patience: Duration,
    owed: Duration,
}

impl Pace {
    /// Returns the pace of a client that owes nothing yet and may owe as much as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            owed: Duration::ZERO,
        }
    }

    /// Returns how long the host may wait for the next bytes.
    pub fn left(&self) -> Duration {
        self.patience.saturating_sub(self.owed)
    }

    /// Counts `bytes` that went through after the host had waited for the time `waited`.
    pub fn went(&mut self, waited: Duration, bytes: usize) {
        // Most clients never owe anything.
        if self.owed.is_zero() && waited.is_zero() {
            return;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let paid = Duration::from_secs(u64::from(bytes)) / LEAST_BYTES_PER_SECOND;
        self.owed = (self.owed + waited).saturating_sub(paid);
    }
}

/// A connection whose other side must take what the host writes at the least pace.
pub struct PacedStream<T> {
    stream: T,
    pace: Pace,
    /// The time since which a write waits, and the deadline of that write; `None` while no write waits.
    waits: Option<(Instant, Deadline)>,
}

impl<T> PacedStream<T> {
    /// Returns a connection whose other side may owe as much as `patience`.
    pub fn new(stream: T, patience: Duration) -> Self {
        Self {
            stream,
            pace: Pace::new(patience),
            waits: None,
        }
    }

    /// Counts the wait and the bytes of a write that returned `polled`. Returns `polled`, or an error once
    /// the other side has been too slow.
    fn paced<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(done) = &polled {
            let waited = self.waits.take().map(|(since, _)| since.elapsed());
            if let Ok(done) = done {
                self.pace.went(waited.unwrap_or_default(), bytes(done));
            }
            return polled;
        }
        let left = self.pace.left();
        let (_, until) = self
            .waits
            .get_or_insert_with(|| (Instant::now(), Deadline::after(left)));
        until.poll(cx).map(|()| {
            let late = "the client takes what is sent too slowly";
            Err(io::Error::new(io::ErrorKind::TimedOut, late))
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PacedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PacedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.paced(cx, polled, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.paced(cx, polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.paced(cx, polled, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: usize = LEAST_BYTES_PER_SECOND as usize;

    #[test]
    fn waiting_is_paid_for_by_bytes_and_nothing_is_saved_up() {
        let mut pace = Pace::new(60 * SECOND);
        pace.went(10 * SECOND, 4 * RATE);
        assert_eq!(pace.left(), 54 * SECOND);
        pace.went(SECOND, 1 << 40);
        assert_eq!(pace.left(), 60 * SECOND);
        for _ in 0..100 {
            pace.went(SECOND, RATE);
        }
        assert_eq!(pace.left(), 60 * SECOND);
        for _ in 0..5 {
            pace.went(14 * SECOND, 1);
        }
        assert_eq!(pace.left(), Duration::ZERO);
    }

    /// Writes 100 MiB to a reader that takes `bytes` every 10 s. Returns whether all of it was written, and
    /// how long that took.
    async fn written_to(bytes: usize) -> (bool, Duration) {
        let (host, mut client) = duplex(RATE);
        let mut host = PacedStream::new(host, 300 * SECOND);
        let began = Instant::now();
        let reads = tokio::spawn(async move {
            let mut buffer = vec![0; bytes];
            while client.read_exact(&mut buffer).await.is_ok() {
                // tidy: allow(sleep) the reader is slow, which is what this is about
                tokio::time::sleep(10 * SECOND).await;
            }
        });
        let is_whole = host.write_all(&vec![0; 100 << 20]).await.is_ok();
        reads.abort();
        (is_whole, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_a_byte_now_and_then_is_given_up() {
        let (is_whole, took) = written_to(1).await;
        assert!(!is_whole);
        assert!((290..=310).contains(&took.as_secs()), "{took:?}");
        let (is_whole, took) = written_to(8 * RATE).await;
        assert!(!is_whole && took > 600 * SECOND, "{took:?}");
        assert!(written_to(11 * RATE).await.0);
    }
}
