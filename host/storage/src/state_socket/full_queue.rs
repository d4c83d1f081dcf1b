//! Connects to a socket whose queue of connections may be full.
//!
//! ```text
//! try ─► full? ─► wait behind the others that found it full ─► try, less and less often ─► connected
//! ```
//! The kernel does not tell when such a queue has room again, so the host has to try again. Of all requests
//! that wait for one socket, only one tries at a time. Otherwise a program that accepts no connections
//! could use up the threads that carry the requests to all programs.

use std::{io, sync::Arc, time::Duration};

use tokio::sync::Mutex;

/// The pause after the first try, which doubles up to [`PAUSE_LAST`]. It is short, because a program that
/// works accepts connections at once.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(250);

/// The requests that found one socket's queue full; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct FullQueue(Arc<Mutex<()>>);

impl FullQueue {
    /// Connects by `dial`, and tries again while the queue is full; after its first try, only one caller
    /// tries at a time. Has no time limit of its own: the caller has to set one.
    ///
    /// # Errors
    /// The error of `dial`, except that the queue is full.
    pub(super) async fn connect<T, F>(&self, mut dial: impl FnMut() -> F) -> io::Result<T>
    where
        F: Future<Output = io::Result<T>>,
    {
        if let Some(outcome) = unless_full(dial().await) {
            return outcome;
        }
        let _alone = self.0.lock().await;
        let mut pause = PAUSE_FIRST;
        loop {
            if let Some(outcome) = unless_full(dial().await) {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }
}

fn unless_full<T>(outcome: io::Result<T>) -> Option<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        outcome => Some(outcome),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use futures_util::future::join_all;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// Lets `count` callers connect at once, each until its time is over. Returns how many connected.
    async fn connect(count: usize, dial: impl Fn() -> io::Result<()>) -> usize {
        let queue = FullQueue::default();
        let all = (0..count)
            .map(|_| tokio::time::timeout(TIMEOUT, queue.connect(|| ready(dial()))))
            .collect::<Vec<_>>();
        let outcomes = join_all(all).await;
        outcomes.into_iter().filter(Result::is_ok).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_tried_seldom_however_many_wait() {
        let tries = Cell::new(0);
        let connected = connect(256, || {
            tries.set(tries.get() + 1);
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert_eq!(connected.await, 0);
        // Each caller tries once, one of them for two seconds, and each once more when its time is over.
        assert!(tries.get() <= 2 * 256 + 20, "{}", tries.get());
    }

    #[tokio::test(start_paused = true)]
    async fn all_get_through_as_soon_as_there_is_room() {
        let began = tokio::time::Instant::now();
        let connected = connect(256, || {
            if began.elapsed() < TIMEOUT / 2 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        assert_eq!(connected.await, 256);
        assert!(began.elapsed() <= TIMEOUT / 2 + PAUSE_LAST);
    }

    #[tokio::test]
    async fn a_refusal_is_told_at_once() {
        let refused = || ready(Err::<(), _>(io::ErrorKind::ConnectionRefused.into()));
        let error = FullQueue::default().connect(refused).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
