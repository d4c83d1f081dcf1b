//! Time: one clock that never goes back for the engine, wall time for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The clock of one watcher. Engine time counts from the watcher's start, so setting the
/// system's clock moves no deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: u64,
    is_virtual: bool,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn system() -> Self {
        Self {
            start: Instant::now(),
            start_ms: epoch_ms(SystemTime::now()),
            is_virtual: false,
        }
    }

    /// A clock for tests: both times follow the runtime's clock, which can be paused.
    #[cfg(test)]
    pub(crate) fn paused(start_ms: u64) -> Self {
        Self {
            start: Instant::now(),
            start_ms,
            is_virtual: true,
        }
    }

    /// Engine time, milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start_ms.saturating_add(elapsed_ms)
    }

    /// The instant at which engine time reaches `at_ms`.
    pub(crate) fn instant_at(&self, at_ms: u64) -> Instant {
        let ahead = Duration::from_millis(at_ms.saturating_sub(self.start_ms));
        self.start
            .checked_add(ahead)
            .unwrap_or_else(|| self.start + Duration::from_secs(366 * 24 * 60 * 60))
    }

    /// Wall time.
    pub(crate) fn wall(&self) -> SystemTime {
        if self.is_virtual {
            UNIX_EPOCH + Duration::from_millis(self.now_ms())
        } else {
            SystemTime::now()
        }
    }

    /// Since the watcher's start.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Milliseconds since the Unix epoch; 0 before it.
pub(crate) fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-01-31T23:59:59.123Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let total_ms = epoch_ms(time);
    let (days, ms_of_day) = (total_ms / 86_400_000, total_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// `1h2m3.456s`, as clients of the WatcherAPI read it.
#[cfg(feature = "api")]
pub(crate) fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (hours, minutes, rest_ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let seconds = format!("{}.{:03}", rest_ms / 1_000, rest_ms % 1_000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    if hours > 0 {
        format!("{hours}h{minutes}m{seconds}s")
    } else if minutes > 0 {
        format!("{minutes}m{seconds}s")
    } else {
        format!("{seconds}s")
    }
}

/// Year, month and day of a day counted from 1970-01-01: whole years first, then whole months.
fn civil(days: u64) -> (u64, u64, u64) {
    // 400 years always have the same number of days, so the walk below is short.
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let mut year = 1970 + 400 * (days / DAYS_IN_400_YEARS);
    let mut rest = days % DAYS_IN_400_YEARS;
    while rest >= days_in_year(year) {
        rest -= days_in_year(year);
        year += 1;
    }
    let february = days_in_year(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

fn days_in_year(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339() {
        let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(13_569_465_600), "2400-01-01T00:00:00.000Z");
    }

    #[cfg(feature = "api")]
    #[test]
    fn durations_read_short() {
        let text = |ms| duration_text(Duration::from_millis(ms));
        assert_eq!(text(0), "0s");
        assert_eq!(text(45), "0.045s");
        assert_eq!(text(1_500), "1.5s");
        assert_eq!(text(60_000), "1m0s");
        assert_eq!(text(3_723_004), "1h2m3.004s");
    }
}
