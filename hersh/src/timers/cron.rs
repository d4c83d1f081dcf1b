//! Rhythms: crontab expressions with a time zone by name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::base::clock::epoch_ms;

/// Most due times that are counted as missed.
const MISSED_MAX: u64 = 100_000;
/// The last time from which a next one is looked for: 31 December 9000, far from the end of the calendar.
const LAST_MS: u64 = 221_876_928_000_000;

/// A crontab expression that was understood.
#[derive(Debug)]
pub(crate) struct Cron {
    /// The expression in its own time zone.
    zoned: Crontab,
    /// Its five fields, read as if clocks never changed.
    civil: Crontab,
    /// True when it is due in any hour, such as every ten minutes.
    any_hour: bool,
}

impl Cron {
    /// Reads five fields and, at the end, maybe the name of a time zone; UTC without one.
    ///
    /// # Errors
    /// Says what is wrong with the text, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let parse = |text: &str| {
            let parsed = parse_crontab_with(text, options);
            parsed.map_err(|error| error.to_string())
        };
        let zoned = parse(text)?;
        let fields: Vec<&str> = text.split_whitespace().take(5).collect();
        Ok(Self {
            zoned,
            civil: parse(&fields.join(" "))?,
            any_hour: fields.get(1).is_some_and(|hour| hour.starts_with('*')),
        })
    }

    /// Returns the first due time after `after`.
    ///
    /// # Errors
    /// Says that there is none, such as for the 30th of February.
    pub(crate) fn next(&self, after: SystemTime) -> Result<SystemTime, String> {
        let after = i64::try_from(epoch_ms(after).min(LAST_MS)).unwrap_or(i64::MAX);
        let after = Timestamp::from_millisecond(after).map_err(|error| error.to_string())?;
        let next = find_next(&self.zoned, after)?;
        let next = if self.any_hour {
            next.timestamp()
        } else {
            self.next_of_day(after, next.time_zone())?
        };
        let next_ms = u64::try_from(next.as_millisecond()).unwrap_or_default();
        Ok(UNIX_EPOCH + Duration::from_millis(next_ms))
    }

    /// Returns the first due time of an expression with hours of its own. Each time of a day is due once, also
    /// on the days when clocks change: one that comes twice at the first time, one that is left out as much
    /// later as clocks are set forward. A job of 02:30 must not run twice in autumn, nor never in spring.
    fn next_of_day(&self, after: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let mut civil = zone.to_datetime(after);
        loop {
            let as_utc = civil.to_zoned(TimeZone::UTC);
            let as_utc = as_utc.map_err(|error| error.to_string())?;
            civil = find_next(&self.civil, as_utc.timestamp())?.datetime();
            let next = civil.to_zoned(zone.clone());
            let next = next.map_err(|error| error.to_string())?.timestamp();
            if next > after {
                return Ok(next);
            }
        }
    }

    /// Returns the last due time from `due` to `now`, and how many there are before it, `due` among them.
    /// `due` must be due.
    pub(crate) fn passed(&self, due: SystemTime, now: SystemTime) -> (SystemTime, u64) {
        let (mut last, mut missed) = (due, 0);
        while let Ok(next) = self.next(last)
            && next <= now
        {
            if missed == MISSED_MAX {
                break;
            }
            last = next;
            missed += 1;
        }
        (last, missed)
    }
}

fn find_next(crontab: &Crontab, after: Timestamp) -> Result<Zoned, String> {
    let next = crontab.find_next(MakeTimestamp(after));
    next.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    fn next(cron: &str, after: &str) -> String {
        let next = Cron::parse(cron).unwrap().next(at(after)).unwrap();
        crate::base::clock::rfc3339(next).to_string()
    }

    #[test]
    fn hours_are_those_of_the_time_zone_also_when_its_clocks_change() {
        let cron = "30 9 * * 1-5 America/New_York";
        assert_eq!(
            next(cron, "2026-03-06T12:00:00Z"),
            "2026-03-06T14:30:00.000Z"
        );
        // A weekend later summer time has begun.
        assert_eq!(
            next(cron, "2026-03-06T15:00:00Z"),
            "2026-03-09T13:30:00.000Z"
        );
        assert_eq!(
            next("0 0 * * *", "2026-03-06T12:00:00Z"),
            "2026-03-07T00:00:00.000Z"
        );
    }

    fn times(cron: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let mut time = at(after);
        let next = |_| {
            time = cron.next(time).unwrap();
            crate::base::clock::rfc3339(time).to_string()
        };
        (0..count)
            .map(next)
            .map(|text| text[5..16].to_owned())
            .collect()
    }

    #[test]
    fn a_time_of_day_is_due_once_on_days_when_clocks_change() {
        let daily = "30 2 * * * Europe/Berlin";
        // Clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
        let spring = times(daily, "2026-03-27T12:00:00Z", 3);
        assert_eq!(spring, ["03-28T01:30", "03-29T01:30", "03-30T00:30"]);
        let autumn = times(daily, "2026-10-24T00:00:00Z", 3);
        assert_eq!(autumn, ["10-24T00:30", "10-25T00:30", "10-26T01:30"]);
    }

    #[test]
    fn what_is_due_in_any_hour_is_due_in_the_hour_that_comes_twice() {
        let half_hours = times("*/30 * * * * Europe/Berlin", "2026-10-25T00:10:00Z", 4);
        assert_eq!(
            half_hours,
            ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]
        );
    }

    #[test]
    fn what_is_no_rhythm_is_refused_with_what_is_wrong() {
        for (text, part) in [
            ("", "crontab"),
            ("* * * *", "crontab"),
            ("61 * * * *", "61"),
            ("* * * * * Mars/Base", "Mars"),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert!(!error.is_empty(), "{text} {part} {error}");
        }
        let never = Cron::parse("0 0 30 2 *").unwrap();
        assert!(never.next(at("2026-01-01T00:00:00Z")).is_err());
    }

    #[test]
    fn missed_times_are_counted() {
        let cron = Cron::parse("0 * * * *").unwrap();
        let (due, now) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T04:30:00Z"));
        assert_eq!(cron.passed(due, now), (at("2026-01-01T04:00:00Z"), 3));
        assert_eq!(cron.passed(due, due), (due, 0));
        let minutes = Cron::parse("* * * * *").unwrap();
        let later = due + Duration::from_secs(365 * 86_400);
        assert_eq!(minutes.passed(due, later).1, MISSED_MAX);
    }
}
