//! Counts what the probes of one instance see. The module has no side effects: the time comes in.
//!
//! ```text
//! a probe ─► Sight ─► Count ─► failures in a row? ─► Report, told once
//!                        ▲
//!            Wakefulness ┴ the host itself stood still: the count begins anew
//! ```

use std::time::Duration;

use hersh_program::Liveness;
use tokio::time::Instant;

/// After a probe that failed, the next one comes after the interval divided by this, so that an instance that
/// hangs is found soon, while one that works is rarely asked.
const SOONER_DIVISOR: u32 = 4;
/// The least time from a probe that failed to the next one.
const SOONER_MIN: Duration = Duration::from_secs(1);

/// The least time from the report that an instance answers again to the next one that it does not: an instance
/// that wavers would otherwise fill the journal.
const REPORT_REST: Duration = Duration::from_secs(60);

/// How often the worker wakes.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How much later than that it wakes only if the machine is too busy to be judged, or stood still.
const LATE: Duration = Duration::from_secs(1);

/// What one probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The instance works.
    Answer,
    /// The instance did not show that it works: what was seen instead, in words.
    Failure(String),
    /// Nothing that says anything about the instance.
    Nothing,
}

/// What a program is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// So many probes in a row failed.
    NotAlive { failures: u32, last_probe: String },
    /// It answers again.
    Alive,
}

/// What the probes of one instance saw so far.
#[derive(Clone, Debug)]
pub(super) struct Count {
    interval: Duration,
    failures_max: u32,
    /// The failures in a row.
    failures: u32,
    /// What the last probe saw that counts; `None` while the count begins.
    last: Option<Result<(), String>>,
    due: Instant,
    /// Whether the program knows that the instance does not answer.
    is_told: bool,
    /// When the program was told that the instance answers again.
    recovered: Option<Instant>,
}

impl Count {
    /// Begins to count. The first probe is due one interval from `now`; `is_told` says whether the program knows
    /// that the instance does not answer.
    pub(super) fn begin(rules: &Liveness, is_told: bool, now: Instant) -> Self {
        let interval = Duration::from_millis(rules.interval_ms);
        Self {
            interval,
            failures_max: rules.failures,
            failures: 0,
            last: None,
            due: now + interval,
            is_told,
            recovered: None,
        }
    }

    /// Begins anew, because the host can't tell whether what it saw was the instance's doing.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.failures = 0;
        self.last = None;
        self.due = now + self.interval;
    }

    /// Returns whether the next probe is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Takes in what a probe saw that ended at `now`.
    pub(super) fn take(&mut self, sight: Sight, now: Instant) {
        match sight {
            Sight::Answer => {
                self.failures = 0;
                self.last = Some(Ok(()));
            }
            Sight::Failure(words) => {
                self.failures = self.failures.saturating_add(1);
                self.last = Some(Err(words));
            }
            Sight::Nothing => {}
        }
        // Once the count is full, asking often finds nothing sooner.
        let is_in_doubt = (1..self.failures_max).contains(&self.failures);
        self.due = now
            + match is_in_doubt {
                true => (self.interval / SOONER_DIVISOR).max(SOONER_MIN),
                false => self.interval,
            };
    }

    /// Returns what the program is to be told and does not know yet.
    pub(super) fn report(&self, now: Instant) -> Option<Report> {
        let has_rested = self.recovered.is_none_or(|told| now - told >= REPORT_REST);
        let is_due = !self.is_told && has_rested;
        match &self.last {
            Some(Err(last_probe)) if is_due && self.failures >= self.failures_max => {
                Some(Report::NotAlive {
                    failures: self.failures,
                    last_probe: last_probe.clone(),
                })
            }
            Some(Ok(())) if self.is_told => Some(Report::Alive),
            Some(Err(_) | Ok(())) | None => None,
        }
    }

    /// Notes that the program was told of `report`.
    pub(super) fn told(&mut self, report: &Report, now: Instant) {
        self.is_told = matches!(report, Report::NotAlive { .. });
        self.recovered = (!self.is_told).then_some(now);
    }
}

/// Tells whether this host went on all the time. While it stood still, or had no processor, its programs may
/// have had none either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wakefulness {
    seen: Instant,
    /// The wall clock then, milliseconds. It goes on while the machine is suspended, as the other clock does not.
    seen_ms: u64,
}

impl Wakefulness {
    pub(super) fn begin(now: Instant, now_ms: u64) -> Self {
        Self {
            seen: now,
            seen_ms: now_ms,
        }
    }

    /// Notes that the host is awake. Returns whether it stood still since it was last awake.
    pub(super) fn stood_still(&mut self, now: Instant, now_ms: u64) -> bool {
        let passed = now.saturating_duration_since(self.seen);
        let wall = Duration::from_millis(now_ms.saturating_sub(self.seen_ms));
        *self = Self::begin(now, now_ms);
        passed > TICK + LATE || wall > passed + LATE
    }
}

#[cfg(test)]
mod tests {
    use hersh_program::LivenessProbe;

    use super::*;

    /// What happens to a count: a probe, a stall, or the telling of what is to be told.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Answer,
        Fail,
        Nothing,
        Stall,
        Tell,
    }
    use Step::{Answer, Fail, Nothing, Stall, Tell};

    fn sight(step: Step) -> Sight {
        match step {
            Answer => Sight::Answer,
            Fail => Sight::Failure("status 503".to_owned()),
            Nothing | Stall | Tell => Sight::Nothing,
        }
    }

    /// What is to be told after these steps, and how many seconds after the last one the next probe is due.
    fn after(steps: &[Step], is_told: bool) -> (Option<&'static str>, u64) {
        let rules = Liveness::with(LivenessProbe::Heartbeat);
        let now = Instant::now();
        let mut count = Count::begin(&rules, is_told, now);
        for step in steps {
            match step {
                Stall => count.begin_anew(now),
                Tell => count.told(&count.report(now).unwrap(), now),
                Answer | Fail | Nothing => count.take(sight(*step), now),
            }
        }
        let report = count.report(now).map(|report| match report {
            Report::NotAlive {
                failures,
                last_probe,
            } => {
                assert!(failures >= 3 && last_probe == "status 503", "{failures}");
                "not alive"
            }
            Report::Alive => "alive",
        });
        let wait = count.due - now;
        assert!(count.is_due(now + wait) && !count.is_due(now));
        (report, wait.as_millis().try_into().unwrap())
    }

    #[test]
    fn three_failures_in_a_row_are_told_once() {
        for (steps, is_told, report, wait_ms) in [
            (&[][..], false, None, 10_000),
            (&[Answer], false, None, 10_000),
            (&[Fail], false, None, 2_500),
            (&[Fail, Fail], false, None, 2_500),
            (&[Fail, Fail, Answer], false, None, 10_000),
            (&[Fail, Fail, Answer, Fail], false, None, 2_500),
            (&[Fail, Fail, Fail], false, Some("not alive"), 10_000),
            // What could not be told is told with the next failure.
            (&[Fail, Fail, Fail, Fail], false, Some("not alive"), 10_000),
            (&[Fail, Fail, Fail, Tell], false, None, 10_000),
            (&[Fail, Fail, Fail, Tell, Fail], false, None, 10_000),
            (
                &[Fail, Fail, Fail, Tell, Answer],
                false,
                Some("alive"),
                10_000,
            ),
            (&[Fail, Fail, Fail, Tell, Answer, Tell], false, None, 10_000),
            // It came back before anybody was told that it was gone.
            (&[Fail, Fail, Fail, Answer], false, None, 10_000),
            // A silence that an earlier host told of.
            (&[], true, None, 10_000),
            (&[Fail, Fail, Fail], true, None, 10_000),
            (&[Answer], true, Some("alive"), 10_000),
        ] {
            let after = after(steps, is_told);
            assert_eq!(after, (report, wait_ms), "{steps:?}, {is_told}");
        }
    }

    #[test]
    fn one_that_wavers_is_told_of_once_in_a_minute() {
        let mut rules = Liveness::with(LivenessProbe::Tcp);
        rules.failures = 1;
        let now = Instant::now();
        let mut count = Count::begin(&rules, true, now);
        count.take(sight(Answer), now);
        let back = count.report(now).unwrap();
        count.told(&back, now);
        count.take(sight(Fail), now);
        assert_eq!(count.report(now + Duration::from_secs(59)), None);
        assert!(count.report(now + REPORT_REST).is_some());
    }

    #[test]
    fn what_says_nothing_counts_neither_way() {
        for (steps, is_told, report, wait_ms) in [
            (&[Nothing, Nothing, Nothing][..], false, None, 10_000),
            (&[Fail, Fail, Nothing], false, None, 2_500),
            (
                &[Fail, Fail, Nothing, Fail],
                false,
                Some("not alive"),
                10_000,
            ),
            (&[Nothing], true, None, 10_000),
        ] {
            let after = after(steps, is_told);
            assert_eq!(after, (report, wait_ms), "{steps:?}, {is_told}");
        }
    }

    #[test]
    fn a_host_that_stood_still_counts_anew() {
        for (steps, is_told, report, wait_ms) in [
            (&[Fail, Fail, Stall][..], false, None, 10_000),
            (&[Fail, Fail, Stall, Fail], false, None, 2_500),
            (&[Fail, Fail, Fail, Stall], false, None, 10_000),
            // No answer was seen, so nothing says that it is back.
            (&[Fail, Fail, Fail, Tell, Stall], false, None, 10_000),
            (&[Stall], true, None, 10_000),
        ] {
            let after = after(steps, is_told);
            assert_eq!(after, (report, wait_ms), "{steps:?}, {is_told}");
        }
    }

    #[test]
    fn a_quarter_of_a_short_interval_is_a_second() {
        let mut rules = Liveness::with(LivenessProbe::Tcp);
        rules.interval_ms = 2_000;
        let now = Instant::now();
        let mut count = Count::begin(&rules, false, now);
        count.take(sight(Fail), now);
        assert_eq!(count.due - now, SOONER_MIN);
    }

    #[test]
    fn a_late_tick_or_a_jump_of_the_clock_is_a_stall() {
        for (passed_ms, wall_ms, stood_still) in [
            (500, 500, false),
            (1_500, 1_500, false),
            (1_501, 1_501, true),
            // The machine was suspended, or its clock was set.
            (500, 1_501, true),
            (500, 60_000, true),
            (500, 0, false),
        ] {
            let (now, now_ms) = (Instant::now(), 1_000_000);
            let mut wakefulness = Wakefulness::begin(now, now_ms);
            let later = now + Duration::from_millis(passed_ms);
            let found = wakefulness.stood_still(later, now_ms + wall_ms);
            assert_eq!(found, stood_still, "{passed_ms}, {wall_ms}");
            assert!(!wakefulness.stood_still(later, now_ms + wall_ms));
        }
    }
}
