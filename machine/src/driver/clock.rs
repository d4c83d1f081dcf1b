//! Clocks: the system's clock, or tokio's clock in tests; and the time that a driver reads from them.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The source of a driver's time.
pub trait Clock: Send + 'static {
    /// Returns the milliseconds since the Unix epoch. The value may jump. A driver's time never goes
    /// backwards and never stands still, whatever this clock does.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}

/// Tokio's clock, for tests under paused time.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start_ms: u64,
    start: Instant,
}

impl TokioClock {
    /// Returns a clock that shows `start_ms` now.
    #[must_use]
    pub fn starting_at(start_ms: u64) -> Self {
        Self {
            start_ms,
            start: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start_ms.saturating_add(elapsed_ms)
    }
}

/// The time of one state machine. It is never before the time of the state machine's records, and it never
/// stands still. After the clock was ahead and was set back, this time stays ahead of the clock, but goes on by
/// the monotonic clock until the clock has caught up. So deadlines still come when they are due.
#[derive(Debug)]
pub(super) struct Time<C> {
    clock: C,
    now_ms: u64,
    /// The moment at which `now_ms` was right.
    at: Instant,
}

impl<C: Clock> Time<C> {
    /// Begins at `least_ms`, or at the clock's time if that is later.
    pub(super) fn starting_at(clock: C, least_ms: u64) -> Self {
        let at = Instant::now();
        let now_ms = clock.now_ms().max(least_ms);
        Self { clock, now_ms, at }
    }

    /// Returns the time of the last [`Time::read`].
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Reads both clocks and returns the new time.
    pub(super) fn read(&mut self) -> u64 {
        let elapsed_ms = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Count whole milliseconds only: the rest of a millisecond counts at the next read.
        self.at += Duration::from_millis(elapsed_ms);
        self.now_ms = self.now_ms.saturating_add(elapsed_ms);
        let clock_ms = self.clock.now_ms();
        if clock_ms > self.now_ms {
            (self.now_ms, self.at) = (clock_ms, Instant::now());
        }
        self.now_ms
    }
}
