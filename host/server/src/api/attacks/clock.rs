//! The runtime's clock in a test's hand. Left to itself a stopped clock jumps to the next deadline
//! whenever all tasks wait, also while the kernel still carries bytes between them; this one moves
//! by a second at a time, and after each the host gets the time to do what is due.

use std::{pin::pin, sync::mpsc, time::Duration};

use tokio::time::{Instant, advance, pause, resume};

use super::world::World;

/// How much later than its time something may be seen: the step, and what a busy kernel takes.
const LATE_SECONDS_MAX: u64 = 5;
/// Nothing here takes longer.
const SECONDS_MAX: u64 = 600;

/// Stops the runtime's clock until it is dropped.
pub(super) struct StoppedClock<'a> {
    world: &'a World,
    began: Instant,
    /// A clock does not jump while a blocking task runs; this one runs until its channel closes.
    _held: mpsc::Sender<()>,
}

impl<'a> StoppedClock<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        let (held, until_dropped) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || until_dropped.recv());
        pause();
        Self {
            world,
            began: Instant::now(),
            _held: held,
        }
    }

    /// Moves the clock on until this has come about.
    pub(super) async fn until<T>(&self, comes: impl Future<Output = T>) -> T {
        let mut comes = pin!(comes);
        loop {
            tokio::select! {
                biased;
                came = comes.as_mut() => return came,
                () = self.move_on() => assert!(self.seconds() < SECONDS_MAX, "it never came"),
            }
        }
    }

    /// One second.
    pub(super) async fn move_on(&self) {
        advance(Duration::from_secs(1)).await;
        // What was sent has come, and waits for the disk at most.
        self.ask().await;
        let written = self.world.host.journal().set_meta("step", String::new());
        written.await.unwrap();
        // What waited for the disk has gone on.
        self.ask().await;
    }

    async fn ask(&self) {
        let request = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answers = self.world.exchange(request).await;
        assert_eq!(answers[0].status, 200);
    }

    /// Counts the seconds from now on.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Whole seconds since the clock was stopped.
    pub(super) fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    pub(super) fn assert_about(&self, seconds: u64) {
        let took = self.seconds();
        assert!(
            Self::is_about(took, seconds),
            "{took} s, not about {seconds} s"
        );
    }

    /// Whether so many seconds are as many as expected, or a little more.
    pub(super) fn is_about(took: u64, seconds: u64) -> bool {
        (seconds..=seconds + LATE_SECONDS_MAX).contains(&took)
    }
}

impl Drop for StoppedClock<'_> {
    fn drop(&mut self) {
        resume();
    }
}
