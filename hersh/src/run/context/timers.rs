//! The hooks of durable time: at a time, after a while, by a rhythm.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Context;
use crate::HookError;
use crate::base::clock::in_whole_ms;
use crate::error::check_name;
use crate::timers::{Cron, Due, Entry, KEY_PREFIX, Rule};

/// A durable timer, as this run sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it is due next; `None` once it is over.
    pub next: Option<SystemTime>,
    /// When it was due, if this run takes it in; the last time, if several have passed.
    pub due: Option<SystemTime>,
    /// How many due times before that one had no run, because nothing ran then or runs failed. At most
    /// 100,000 are counted.
    pub missed: u64,
}

impl Context {
    /// Sets a timer for a time, once. A run takes it in as soon as the time has come, also if nothing ran when
    /// it came: then at once.
    ///
    /// The first call sets the timer `name`. It is committed with the run, in the durable context, and survives
    /// restarts. Further calls with the same time change nothing, also after it is over; with another time they
    /// set it anew. [`Context::unwatch`] removes it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # let closing = std::time::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 3_600);
    /// if cx.at("closing", closing)?.is_due() {
    ///     cx.log("the market closes");
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # assert_eq!(test.advance(Duration::from_secs(7_200))[0].log(), "the market closes");
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when the name is unusable or taken by another kind of timer, or the context is full.
    pub fn at(&mut self, name: &str, time: SystemTime) -> Result<Timer, HookError> {
        let due = in_whole_ms(time);
        match self.timer("at", name, &Rule::At)? {
            Some(entry) if entry.due == due => Ok(self.seen(name, &entry)),
            Some(_) | None => self.set_timer("at", name, Rule::At, due),
        }
    }

    /// Sets a timer for some time after this run, once. Like [`Context::at`], but further calls never change
    /// it: `unwatch` it to set it anew.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if let Some(what) = cx.message() {
    ///     cx.after(&format!("remind/{what}"), Duration::from_secs(3_600))?;
    /// }
    /// for name in cx.triggered().timers.clone() {
    ///     cx.log(format!("{name} is due"));
    ///     cx.unwatch(&name);
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # test.message("tea").ok();
    /// # assert_eq!(test.advance(Duration::from_secs(7_200))[0].log(), "remind/tea is due");
    /// ```
    ///
    /// # Errors
    /// As [`Context::at`].
    pub fn after(&mut self, name: &str, time: Duration) -> Result<Timer, HookError> {
        match self.timer("after", name, &Rule::After)? {
            Some(entry) => Ok(self.seen(name, &entry)),
            None => {
                let due = self.now.checked_add(time).ok_or(HookError::Interval {
                    hook: "after",
                    name: name.into(),
                    every: time,
                })?;
                self.set_timer("after", name, Rule::After, in_whole_ms(due))
            }
        }
    }

    /// Sets a timer by a rhythm: a crontab expression with five fields (minute, hour, day of the month, month,
    /// day of the week) and the name of a time zone, UTC without one.
    ///
    /// The rhythm goes on over restarts. Due times that passed while nothing ran are told once, with how many
    /// they were: [`Timer::missed`]. Nothing is made up for. On the days when clocks change, a time of day is due
    /// once, whether it comes twice or is left out. Another expression under the same name begins anew.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let opening = cx.every("opening", "30 9 * * MON-FRI America/New_York")?;
    /// if opening.is_due() {
    ///     cx.log(format!("the market opens; {} openings were missed", opening.missed));
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # let run = &test.advance(Duration::from_secs(86_400 * 2))[0];
    /// # assert_eq!(run.log(), "the market opens; 0 openings were missed");
    /// ```
    ///
    /// # Errors
    /// As [`Context::at`], and when the expression is none, or has no due time within four years.
    pub fn every(&mut self, name: &str, cron: &str) -> Result<Timer, HookError> {
        let rule = Rule::Every(cron.into());
        if let Some(entry) = self.timer("every", name, &rule)?
            && entry.rule == rule
        {
            return Ok(self.seen(name, &entry));
        }
        let next = Cron::parse(cron).and_then(|cron| cron.next(self.now));
        let due = next.map_err(|message| HookError::Cron {
            name: name.into(),
            cron: cron.chars().take(80).collect(),
            message,
        })?;
        self.set_timer("every", name, rule, due)
    }

    /// Returns a timer of this kind, if it is set.
    fn timer(
        &self,
        hook: &'static str,
        name: &str,
        asked: &Rule,
    ) -> Result<Option<Entry>, HookError> {
        check_name(hook, name)?;
        self.in_a_run(hook, name)?;
        let entry = self.timers.get(name).cloned();
        match entry {
            Some(entry) if entry.rule.hook() != asked.hook() => Err(HookError::Clash {
                hook,
                name: name.into(),
                registered: format!("a timer of {}", entry.rule.hook()),
                asked: format!("a timer of {}", asked.hook()),
            }),
            entry => Ok(entry),
        }
    }

    fn set_timer(
        &mut self,
        hook: &'static str,
        name: &str,
        rule: Rule,
        due: SystemTime,
    ) -> Result<Timer, HookError> {
        let over = false;
        let entry = Entry { rule, due, over };
        self.store
            .set(hook, &format!("{KEY_PREFIX}{name}"), &entry)?;
        self.timers.stage(name.into(), Some(entry.clone()));
        Ok(self.seen(name, &entry))
    }

    /// Removes a timer and returns whether there was one.
    pub(super) fn remove_timer(&mut self, name: &str) -> bool {
        let is_set = self.timers.get(name).is_some();
        if is_set {
            self.store.remove(&format!("{KEY_PREFIX}{name}"));
            self.timers.stage(name.into(), None);
        }
        is_set
    }

    /// Takes in the timers that are due at the time of this run.
    pub(super) fn begin_timers(&mut self) {
        self.timers.discard();
        if !self.due.is_empty() {
            self.due.clear();
        }
        if self
            .timers
            .next_ms()
            .is_none_or(|due_ms| due_ms > crate::base::clock::epoch_ms(self.now))
        {
            return;
        }
        for (name, due, entry) in self.timers.due(self.now) {
            self.store.put(&format!("{KEY_PREFIX}{name}"), &entry);
            self.timers.stage(name.clone(), Some(entry));
            self.due.insert(name, due);
        }
    }

    fn seen(&self, name: &str, entry: &Entry) -> Timer {
        let due = self.due.get(name);
        Timer {
            next: (!entry.over).then_some(entry.due),
            due: due.map(|due| due.at),
            missed: due.map_or(0, |due| due.missed),
        }
    }
}

impl Timer {
    /// Returns whether this run takes the timer in because it is due. Each due time has one run that is
    /// committed: when that run fails, the timer is due again in the next try.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }
}

/// The timers that a run takes in.
pub(super) type DueTimers = std::collections::BTreeMap<Arc<str>, Due>;
