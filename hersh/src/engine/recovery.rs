//! What a failed run leads to: pure arithmetic over the count of failures in a row.

use serde::{Deserialize, Serialize};

/// When a watcher whose runs fail tries again, and when it gives up.
///
/// ```
/// use hersh::{Recovery, Verdict};
///
/// let recovery = Recovery::default();
/// assert_eq!(recovery.after(1), Verdict::Retry { after_ms: 15_000 });
/// assert_eq!(recovery.after(3), Verdict::Recover { after_ms: 5_000 });
/// assert_eq!(recovery.after(6), Verdict::Crash);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recovery {
    /// From this many failures in a row the watcher is in `WaitRecover`; below, it retries
    /// lightly.
    pub min_consecutive_failures: u32,
    /// At this many failures in a row the watcher is `Crashed`. At least 1.
    pub max_consecutive_failures: u32,
    /// Delays of the light retries, milliseconds; the last one repeats.
    pub light_delays_ms: [u64; 3],
    /// First delay in `WaitRecover`, milliseconds; doubled by each further failure.
    pub base_delay_ms: u64,
    /// Longest delay in `WaitRecover`, milliseconds.
    pub max_delay_ms: u64,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run again after a light delay; the watcher still counts as `Ready`.
    Retry {
        /// How long to wait, milliseconds.
        after_ms: u64,
    },
    /// Wait in `WaitRecover`, then run again.
    Recover {
        /// How long to wait, milliseconds.
        after_ms: u64,
    },
    /// Give up.
    Crash,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            min_consecutive_failures: 3,
            max_consecutive_failures: 6,
            light_delays_ms: [15_000, 30_000, 60_000],
            base_delay_ms: 5_000,
            max_delay_ms: 300_000,
        }
    }
}

impl Recovery {
    /// Returns what follows the `failures`-th failure in a row (1 for the first).
    #[must_use]
    pub fn after(&self, failures: u32) -> Verdict {
        if failures >= self.max_consecutive_failures {
            return Verdict::Crash;
        }
        if failures < self.min_consecutive_failures {
            let [first, second, third] = self.light_delays_ms;
            let after_ms = match failures {
                0 | 1 => first,
                2 => second,
                3.. => third,
            };
            return Verdict::Retry { after_ms };
        }
        let doublings = failures - self.min_consecutive_failures;
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let after_ms = self.base_delay_ms.saturating_mul(factor);
        Verdict::Recover {
            after_ms: after_ms.min(self.max_delay_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_the_documented_one() {
        let verdicts: Vec<Verdict> = (1..=7).map(|n| Recovery::default().after(n)).collect();
        assert_eq!(
            verdicts,
            [
                Verdict::Retry { after_ms: 15_000 },
                Verdict::Retry { after_ms: 30_000 },
                Verdict::Recover { after_ms: 5_000 },
                Verdict::Recover { after_ms: 10_000 },
                Verdict::Recover { after_ms: 20_000 },
                Verdict::Crash,
                Verdict::Crash,
            ]
        );
    }

    #[test]
    fn delays_are_capped_and_never_overflow() {
        let recovery = Recovery {
            max_consecutive_failures: u32::MAX,
            ..Recovery::default()
        };
        for failures in [9, 40, 70, 1_000_000] {
            assert_eq!(
                recovery.after(failures),
                Verdict::Recover { after_ms: 300_000 }
            );
        }
    }

    #[test]
    fn the_last_light_delay_repeats() {
        let recovery = Recovery {
            min_consecutive_failures: 10,
            max_consecutive_failures: 12,
            ..Recovery::default()
        };
        assert_eq!(recovery.after(3), Verdict::Retry { after_ms: 60_000 });
        assert_eq!(recovery.after(9), Verdict::Retry { after_ms: 60_000 });
    }
}
