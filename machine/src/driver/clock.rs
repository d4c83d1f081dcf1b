//! Where the time comes from: the system, or tokio's clock in tests; and how a driver reads it.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where a driver takes the time from.
pub trait Clock: Send + 'static {
    /// Milliseconds since the Unix epoch. May jump; a driver's time never goes backwards, and goes
    /// on all the same.
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
    /// A clock that shows `start_ms` now.
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

/// The time of one machine: never before what its records say, and never standing still. A clock
/// that was ahead once and was set right leaves it ahead, but deadlines come when they are due: it
/// goes on by the monotonic clock until the other one has caught up.
#[derive(Debug)]
pub(super) struct Time<C> {
    clock: C,
    now_ms: u64,
    /// When it was `now_ms`.
    at: Instant,
}

impl<C: Clock> Time<C> {
    /// Begins at `least_ms`, or where the clock is if that is later.
    pub(super) fn starting_at(clock: C, least_ms: u64) -> Self {
        let at = Instant::now();
        let now_ms = clock.now_ms().max(least_ms);
        Self { clock, now_ms, at }
    }

    /// As of the last [`Time::read`].
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Looks at both clocks.
    pub(super) fn read(&mut self) -> u64 {
        let elapsed_ms = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Whole milliseconds: what is left of one counts the next time.
        self.at += Duration::from_millis(elapsed_ms);
        self.now_ms = self.now_ms.saturating_add(elapsed_ms);
        let clock_ms = self.clock.now_ms();
        if clock_ms > self.now_ms {
            (self.now_ms, self.at) = (clock_ms, Instant::now());
        }
        self.now_ms
    }
}
