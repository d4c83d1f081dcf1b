//! The time by which tokens end. The system's clock may step back; a token that has ended stays so.

use std::{sync::Mutex, time::Duration};

use hersh_base::locked::locked;
use tokio::time::Instant;

/// The journal's key for the time after which some token had ended, milliseconds since the Unix epoch.
pub(super) const META_NEWEST: &str = "newest_ms";

/// A time that never goes back and never stands still. Behind a clock that stepped back, this time goes on by
/// the monotonic clock until the other clock has caught up.
#[derive(Debug)]
pub(super) struct TokenTime(Mutex<NewestTime>);

#[derive(Clone, Copy, Debug)]
struct NewestTime {
    newest_ms: u64,
    /// The monotonic time at which it was `newest_ms`.
    at: Instant,
}

impl TokenTime {
    /// Begins at `least_ms`, milliseconds since the Unix epoch.
    pub(super) fn starting_at(least_ms: u64) -> Self {
        Self(Mutex::new(NewestTime {
            newest_ms: least_ms,
            at: Instant::now(),
        }))
    }

    /// Returns the time, with the clock at `clock_ms`; both are milliseconds since the Unix epoch.
    pub(super) fn at(&self, clock_ms: u64) -> u64 {
        let mut seen = locked(&self.0);
        let elapsed_ms = u64::try_from(seen.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Only whole milliseconds are taken: the rest of one counts the next time.
        seen.at += Duration::from_millis(elapsed_ms);
        seen.newest_ms = seen.newest_ms.saturating_add(elapsed_ms);
        if clock_ms > seen.newest_ms {
            (seen.newest_ms, seen.at) = (clock_ms, Instant::now());
        }
        seen.newest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_behind_a_clock_that_stepped_back() {
        let time = TokenTime::starting_at(100);
        assert_eq!(time.at(50), 100);
        assert_eq!(time.at(5_000), 5_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(time.at(10), 6_000);
        assert_eq!(time.at(9_000), 9_000);
    }
}
