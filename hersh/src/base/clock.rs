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
    /// Returns a clock that starts now.
    pub(crate) fn system() -> Self {
        Self {
            start: Instant::now(),
            start_ms: epoch_ms(SystemTime::now()),
            is_virtual: false,
        }
    }

    /// Returns a clock for tests: both times follow the runtime's clock, which is paused.
    pub(crate) fn paused(start_ms: u64) -> Self {
        Self {
            start: Instant::now(),
            start_ms,
            is_virtual: true,
        }
    }

    /// Returns engine time, milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// Returns engine time at an instant, milliseconds since the Unix epoch.
    pub(crate) fn ms_at(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.start);
        let whole_ms = elapsed.as_secs().saturating_mul(1_000);
        self.start_ms
            .saturating_add(whole_ms)
            .saturating_add(u64::from(elapsed.subsec_millis()))
    }

    /// Returns true when time is that of a test.
    pub(crate) fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// Returns the instant at which engine time reaches `at_ms`.
    pub(crate) fn instant_at(&self, at_ms: u64) -> Instant {
        let ahead = Duration::from_millis(at_ms.saturating_sub(self.start_ms));
        self.start
            .checked_add(ahead)
            .unwrap_or_else(|| self.start + Duration::from_secs(366 * 24 * 60 * 60))
    }

    /// Returns wall time.
    pub(crate) fn wall(&self) -> SystemTime {
        if self.is_virtual {
            UNIX_EPOCH + Duration::from_millis(self.now_ms())
        } else {
            SystemTime::now()
        }
    }

    /// Returns the time since the watcher's start.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Returns nanoseconds since the Unix epoch; 0 for a time before it.
pub(crate) fn epoch_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns milliseconds since the Unix epoch; 0 for a time before it.
pub(crate) fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `time` cut to whole milliseconds.
pub(crate) fn in_whole_ms(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(epoch_ms(time))
}

/// Shows a time as `2026-01-31T23:59:59.123Z`. A time outside the years 1970 to 9999 is shown as
/// the nearest in them.
pub(crate) fn rfc3339(time: SystemTime) -> impl std::fmt::Display {
    const LAST_MS: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(epoch_ms(time).min(LAST_MS));
    humantime::format_rfc3339_millis(time)
}

/// Times as RFC 3339 in milliseconds, for serde.
pub(crate) mod rfc3339_serde {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes a time.
    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&super::rfc3339(*time))
    }

    /// Reads a time.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

/// Shows a duration as `1h2m3.456s`, as clients of the WatcherAPI read it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339() {
        let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(u64::MAX / 4_000_000), "9999-12-31T23:59:59.999Z");
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
