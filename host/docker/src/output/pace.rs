//! Limits how fast a program's output is taken over, in proportion to the program's processor time.
//!
//! To print a line costs a program next to nothing, but to take over a line costs the host the same
//! whichever program printed it. So each program has a number of lines and bytes for each second and core.
//! A reader that has used them up waits, while the engine goes on rotating its files. Lines that are lost
//! with a rotated file are marked as a gap.

use std::time::Duration;

use tokio::time::Instant;

/// What is taken over for each second of a whole core. These are more lines than a program prints that also
/// does other work, and they cost the host some hundredths of that core.
const LINES_PER_CORE: f64 = 10_000.0;
const BYTES_PER_CORE: f64 = 4.0 * 1024.0 * 1024.0;
/// The share of a core that counts for a program with less, so that its output comes in time.
const CORES_MIN: f64 = 0.1;
/// How much may be taken over at once after a silence: as much as in this time at the usual pace.
const SAVED: Duration = Duration::from_secs(5);

/// The pace of one program.
pub(super) struct Pace {
    cores: f64,
    /// The time at which the waits for all output so far are over.
    paid_at: Instant,
}

impl Pace {
    /// Makes the pace of a program with this many billionths of a core, as engines count them. A program
    /// without a bound counts as one with a whole core.
    pub(super) fn new(nano_cpus: Option<i64>, now: Instant) -> Self {
        let bound = nano_cpus.and_then(|it| u32::try_from(it / 1_000_000).ok());
        let cores = bound
            .filter(|millis| *millis > 0)
            .map_or(1.0, |millis| f64::from(millis) / 1_000.0);
        Self {
            cores: cores.max(CORES_MIN),
            paid_at: now.checked_sub(SAVED).unwrap_or(now),
        }
    }

    /// Returns how long to wait after this many lines and bytes were taken over.
    pub(super) fn wait(&mut self, lines: usize, bytes: usize, now: Instant) -> Duration {
        let earliest = now.checked_sub(SAVED).unwrap_or(now);
        let lines = f64::from(u32::try_from(lines).unwrap_or(u32::MAX)) / LINES_PER_CORE;
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / BYTES_PER_CORE;
        let cost = Duration::from_secs_f64((lines + bytes) / self.cores);
        self.paid_at = self.paid_at.max(earliest) + cost;
        self.paid_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the lines that are taken over in a minute, from a program with this many cores that prints
    /// all it can.
    fn lines_in_a_minute(nano_cpus: Option<i64>) -> f64 {
        let begin = Instant::now();
        let (mut now, mut lines) = (begin, 0);
        let mut pace = Pace::new(nano_cpus, now);
        while now < begin + Duration::from_secs(60) {
            lines += 1_000;
            now += pace.wait(1_000, 2_000, now);
        }
        f64::from(lines)
    }

    #[test]
    fn lines_are_taken_over_in_proportion_to_cores() {
        let fifth = lines_in_a_minute(Some(200_000_000));
        let whole = lines_in_a_minute(Some(1_000_000_000));
        assert!((4.0..6.0).contains(&(whole / fifth)), "{whole} {fifth}");
        assert!((600_000.0..700_000.0).contains(&whole), "{whole}");
        assert!((lines_in_a_minute(None) - whole).abs() < 1.0);
        assert!(lines_in_a_minute(Some(1_000_000)) > 50_000.0);
    }

    #[test]
    fn bytes_count_as_lines_do() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        let six_seconds = 6 * 4 * 1024 * 1024;
        assert_eq!(pace.wait(0, six_seconds, now), Duration::from_secs(1));
    }

    #[test]
    fn a_burst_after_a_silence_is_taken_over_at_once() {
        let begin = Instant::now();
        let mut pace = Pace::new(None, begin);
        assert_eq!(pace.wait(49_000, 0, begin), Duration::ZERO);
        assert!(pace.wait(49_000, 0, begin) > Duration::ZERO);
        let later = begin + Duration::from_secs(60);
        assert_eq!(pace.wait(49_000, 0, later), Duration::ZERO);
    }
}
