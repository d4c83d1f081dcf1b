//! The count of a program's automatic starts in the last hour.

use serde::{Deserialize, Serialize};

/// The length of the time that is counted over, milliseconds.
const COUNTED_MS: u64 = 60 * 60_000;
/// The number of parts of that time. Each part forgets as a whole, so a start counts for between 55 and 60
/// minutes.
const PARTS: usize = 12;
const PART_MS: u64 = COUNTED_MS / PARTS as u64;

/// Counts the automatic starts of a program over about the last hour, in a few numbers however many starts
/// there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// The number of the newest part, counted from the Unix epoch.
    newest: u64,
    /// The starts of each part, newest first.
    starts: [u32; PARTS],
}

impl Restarts {
    /// Counts one start at `now_ms`. A clock that was set back counts it with the newest part.
    pub(crate) fn count(&mut self, now_ms: u64) {
        let part = (now_ms / PART_MS).max(self.newest);
        self.shift(part);
        self.starts[0] = self.starts[0].saturating_add(1);
    }

    /// Returns the number of automatic starts in the last hour before `now_ms`.
    #[must_use]
    pub fn last_hour(&self, now_ms: u64) -> u32 {
        let passed = (now_ms / PART_MS).saturating_sub(self.newest);
        let kept = PARTS.saturating_sub(usize::try_from(passed).unwrap_or(PARTS));
        let starts = self.starts[..kept].iter();
        starts.fold(0, |sum, starts| sum.saturating_add(*starts))
    }

    /// Returns whether no start was ever counted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn shift(&mut self, part: u64) {
        let passed = usize::try_from(part - self.newest)
            .unwrap_or(PARTS)
            .min(PARTS);
        self.starts.rotate_right(passed);
        self.starts[..passed].fill(0);
        self.newest = part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_count_for_an_hour() {
        let mut restarts = Restarts::default();
        let begin = 1_000 * COUNTED_MS;
        for minute in 0..60 {
            restarts.count(begin + minute * 60_000);
        }
        let at = |minute: u64| restarts.last_hour(begin + minute * 60_000);
        assert_eq!(at(59), 60);
        assert_eq!(at(64), 55);
        assert_eq!(at(114), 5);
        assert_eq!(at(120), 0);
    }

    #[test]
    fn a_clock_set_back_loses_no_start() {
        let mut restarts = Restarts::default();
        restarts.count(9 * COUNTED_MS);
        restarts.count(COUNTED_MS);
        assert_eq!(restarts.last_hour(COUNTED_MS), 2);
        assert_eq!(restarts.last_hour(9 * COUNTED_MS), 2);
    }

    #[test]
    fn a_long_silence_forgets_every_start() {
        let mut restarts = Restarts::default();
        restarts.count(1);
        restarts.count(u64::MAX);
        assert_eq!(restarts.last_hour(u64::MAX), 1);
    }
}
