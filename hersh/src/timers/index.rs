//! The timers of a watcher, by name and by due time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Cron, Entry, Rule};
use crate::base::clock::epoch_ms;

/// A timer that a run takes in because it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// When it was due; the last time, if several have passed.
    pub(crate) at: SystemTime,
    /// How many due times before that one had no run.
    pub(crate) missed: u64,
}

/// The timers as they are committed, and what a run changes about them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    committed: BTreeMap<Arc<str>, Entry>,
    /// Those that are not over, by due time, milliseconds since the Unix epoch.
    due: BTreeSet<(u64, Arc<str>)>,
    staged: BTreeMap<Arc<str>, Option<Entry>>,
}

impl Index {
    /// Returns the index of these timers.
    pub(crate) fn new(timers: impl IntoIterator<Item = (Arc<str>, Entry)>) -> Self {
        let mut index = Self::default();
        for (name, entry) in timers {
            index.put(name, Some(entry));
        }
        index
    }

    /// Returns a timer as the run in progress sees it.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        match self.staged.get(name) {
            Some(staged) => staged.as_ref(),
            None => self.committed.get(name),
        }
    }

    /// Returns when the first timer is due that no committed run took in.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Returns the timers that are due, by due time, with what they are after a run took them in.
    pub(crate) fn due(&self, now: SystemTime) -> Vec<(Arc<str>, Due, Entry)> {
        let now_ms = epoch_ms(now);
        let due = self.due.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
        due.filter_map(|(_, name)| {
            let entry = self.committed.get(name)?;
            let (due, next) = taken_in(entry, now);
            Some((name.clone(), due, next))
        })
        .collect()
    }

    /// Notes what the run in progress makes of a timer; `None` removes it.
    pub(crate) fn stage(&mut self, name: Arc<str>, entry: Option<Entry>) {
        self.staged.insert(name, entry);
    }

    /// Takes what is staged as committed.
    pub(crate) fn commit(&mut self) {
        for (name, entry) in std::mem::take(&mut self.staged) {
            self.put(name, entry);
        }
    }

    /// Forgets what is staged.
    pub(crate) fn discard(&mut self) {
        if !self.staged.is_empty() {
            self.staged.clear();
        }
    }

    fn put(&mut self, name: Arc<str>, entry: Option<Entry>) {
        if let Some(old) = self.committed.remove(&name) {
            self.due.remove(&(epoch_ms(old.due), name.clone()));
        }
        if let Some(entry) = entry {
            if !entry.over {
                self.due.insert((epoch_ms(entry.due), name.clone()));
            }
            self.committed.insert(name, entry);
        }
    }
}

/// Returns how a timer was due, and what it is once a run took it in.
fn taken_in(entry: &Entry, now: SystemTime) -> (Due, Entry) {
    let once = (
        Due {
            at: entry.due,
            missed: 0,
        },
        Entry {
            over: true,
            ..entry.clone()
        },
    );
    let Rule::Every(text) = &entry.rule else {
        return once;
    };
    // A rhythm that this release cannot read any more, or that has no next time, is over.
    let Ok(cron) = Cron::parse(text) else {
        return once;
    };
    let (at, missed) = cron.passed(entry.due, now);
    match cron.next(now) {
        Ok(next) => (
            Due { at, missed },
            Entry {
                due: next,
                ..entry.clone()
            },
        ),
        Err(_) => once,
    }
}
