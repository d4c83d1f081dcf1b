//! Compares a changed function with a journal: goes on after differences, and sums up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::divergence::{self, Divergence};
use super::{Keeps, Rehearsal, ReplayError, Settings, on_a_thread, shown, unreadable};
use crate::journal::{Entry, Journal, LocatedEntry, RecordedRun};
use crate::store::Values;
use crate::{Context, Error};

/// Most differences that a comparison keeps. All are counted.
pub const DIFFERENCE_LIMIT: usize = 100;

/// What a function does on the inputs of a recorded session, beside what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The name of the watcher that recorded the journal.
    pub watcher: Arc<str>,
    /// How many runs were made.
    pub runs: u64,
    /// How many of them differ from their record.
    pub differing: u64,
    /// The first differences, one for each run that differs, at most [`DIFFERENCE_LIMIT`].
    pub differences: Vec<Divergence>,
    /// How many runs failed when they were recorded, and now.
    pub failed: Counts,
    /// How many effects were asked for, by name.
    pub asked: BTreeMap<Arc<str>, Counts>,
    /// The durable context after the last run, as it was recorded.
    pub recorded_context: BTreeMap<Arc<str>, serde_json::Value>,
    /// The durable context after the last run, as it is now.
    pub context: BTreeMap<Arc<str>, serde_json::Value>,
}

/// Two counts to be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As it was recorded.
    pub recorded: u64,
    /// As it is now.
    pub now: u64,
}

/// Compares on a thread of its own.
pub(crate) fn compare<F, E>(
    path: PathBuf,
    settings: Settings,
    managed: F,
) -> Result<Comparison, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    on_a_thread(async move || follow(&path, settings, managed).await)
}

async fn follow<F, E>(
    path: &Path,
    settings: Settings,
    managed: F,
) -> Result<Comparison, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    let journal = Journal::open(path).map_err(unreadable(0))?;
    let part = journal.began.clone();
    let mut recorded_context: Values = part.context.iter().cloned().collect();
    let mut comparison = Comparison::new(part.watcher.clone());
    let env = Arc::new(settings.env);
    let mut rehearsal = Rehearsal::new(managed, part, env, settings.run_timeout);
    let mut entries = journal.entries();
    while let Some(located) = entries.next().map_err(unreadable(comparison.runs))? {
        let LocatedEntry {
            entry,
            file,
            offset,
        } = located;
        match entry {
            Entry::Began(_) | Entry::Ended { .. } | Entry::ActingRun(..) => {}
            // A later part begins with what was recorded. The comparison goes on with what is now.
            Entry::Effects(effects) if comparison.runs == 0 => rehearsal.begin_with(effects),
            Entry::Effects(_) => {}
            Entry::Run(recorded) => {
                let seen = rehearsal.run(&recorded, Keeps::AsNow).await;
                if recorded.outcome.keeps_changes() {
                    apply(&mut recorded_context, &recorded);
                }
                comparison.count(&recorded, seen.as_ref().ok().map(|seen| &seen.run));
                if let Err(difference) = divergence::check(&recorded, seen) {
                    comparison.differ(|| Divergence::new(&recorded, difference, file, offset));
                }
            }
        }
    }
    comparison.recorded_context = shown(&recorded_context);
    comparison.context = shown(&rehearsal.cx.shared.committed.values());
    Ok(comparison)
}

impl Comparison {
    fn new(watcher: Arc<str>) -> Self {
        Self {
            watcher,
            runs: 0,
            differing: 0,
            differences: Vec::new(),
            failed: Counts::default(),
            asked: BTreeMap::new(),
            recorded_context: BTreeMap::new(),
            context: BTreeMap::new(),
        }
    }

    fn count(&mut self, recorded: &RecordedRun, now: Option<&RecordedRun>) {
        self.runs += 1;
        self.failed.recorded += u64::from(!recorded.outcome.keeps_changes());
        self.failed.now += u64::from(now.is_none_or(|run| !run.outcome.keeps_changes()));
        for ask in &recorded.acts.asked {
            self.asked.entry(ask.effect.clone()).or_default().recorded += 1;
        }
        for ask in now.iter().flat_map(|run| &run.acts.asked) {
            self.asked.entry(ask.effect.clone()).or_default().now += 1;
        }
    }

    fn differ(&mut self, found: impl FnOnce() -> Divergence) {
        self.differing += 1;
        if self.differences.len() < DIFFERENCE_LIMIT {
            self.differences.push(found());
        }
    }
}

fn apply(values: &mut Values, recorded: &RecordedRun) {
    for (key, json) in &recorded.context {
        match json {
            Some(json) => values.insert(key.clone(), json.clone()),
            None => values.remove(key),
        };
    }
}
