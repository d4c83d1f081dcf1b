//! Replays a journal: the same managed function on the same inputs, compared run by run.
//!
//! ```text
//! journal ─► inputs of a run ──► rehearsal ──► what the run did ─┐
//!        └─► results of that run ────────────────────────────────┴─► divergence, or comparison
//! ```
//! A replay ends at the first difference. A comparison goes on with what the function did, and sums up.

mod comparison;
mod divergence;
mod rehearsal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

pub(crate) use comparison::compare;
pub use comparison::{Comparison, Counts, DIFFERENCE_LIMIT};
pub use divergence::{Difference, Divergence};
pub(crate) use rehearsal::{Keeps, Rehearsal};

use crate::base::panics::panic_text;
use crate::journal::{Entry, Journal, LocatedEntry, ReadError};
use crate::store::Values;
use crate::{Context, Error};

/// A journal that was replayed to its end, without a difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// The name of the watcher that recorded the journal.
    pub watcher: Arc<str>,
    /// The number of the first run that was replayed; 1 unless older parts are gone.
    pub first_run: u64,
    /// How many runs were replayed.
    pub runs: u64,
    /// How the recorded session ended, if its end was recorded.
    pub ending: Option<String>,
    /// The number of bytes at the end of an entry whose rest was never written, as a crash leaves
    /// them.
    pub torn_bytes: usize,
    /// The durable context after the last run.
    pub context: BTreeMap<Arc<str>, serde_json::Value>,
}

/// Why a journal was not replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The managed function did something else than what was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The journal, or its rest, cannot be read.
    #[error("{message}; {runs} runs before that replay as recorded")]
    Unreadable {
        /// What is wrong, and where.
        message: String,
        /// The number of runs that were replayed before.
        runs: u64,
    },
    /// No thread or runtime could be made.
    #[error("cannot replay: {error}")]
    Thread {
        /// The error of the system.
        error: String,
    },
}

/// What a replay is made with, beside the journal and the function.
pub(crate) struct Settings {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) run_timeout: Duration,
}

/// Replays to the first difference.
pub(crate) fn run<F, E>(
    path: PathBuf,
    settings: Settings,
    managed: F,
) -> Result<Replayed, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    on_a_thread(async move || follow(&path, settings, managed).await)
}

/// Does work on a thread of its own, so that it may be asked for from async code.
fn on_a_thread<T: Send + 'static>(
    work: impl AsyncFnOnce() -> Result<T, ReplayError> + Send + 'static,
) -> Result<T, ReplayError> {
    let failed = |error: String| ReplayError::Thread { error };
    let thread = std::thread::Builder::new().name("hersh-replay".into());
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let local = LocalSet::new();
        local.block_on(&runtime, work())
    };
    let thread = thread
        .spawn(work)
        .map_err(|error| failed(error.to_string()))?;
    thread
        .join()
        .unwrap_or_else(|panic| Err(failed(panic_text(&*panic))))
}

/// Returns the error of a journal that cannot be read after so many runs.
fn unreadable(runs: u64) -> impl FnOnce(ReadError) -> ReplayError {
    move |error| ReplayError::Unreadable {
        message: error.to_string(),
        runs,
    }
}

async fn follow<F, E>(path: &Path, settings: Settings, managed: F) -> Result<Replayed, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    let journal = Journal::open(path).map_err(unreadable(0))?;
    let mut replayed = Replayed {
        watcher: journal.began.watcher.clone(),
        first_run: 0,
        runs: 0,
        ending: None,
        torn_bytes: 0,
        context: BTreeMap::new(),
    };
    let part = journal.began.clone();
    let env = Arc::new(settings.env);
    let mut rehearsal = Rehearsal::new(managed, part, env, settings.run_timeout);
    let mut entries = journal.entries();
    loop {
        let next = entries.next().map_err(unreadable(replayed.runs))?;
        let Some(LocatedEntry {
            entry,
            file,
            offset,
        }) = next
        else {
            break;
        };
        match entry {
            Entry::Began(_) | Entry::ActingRun(..) => {}
            // A later part of the same session begins with what the part before it has led to.
            Entry::Effects(effects) if replayed.runs == 0 => rehearsal.begin_with(effects),
            Entry::Effects(_) => {}
            Entry::Ended { ending, .. } => replayed.ending = Some(ending),
            Entry::Run(recorded) => {
                let seen = rehearsal.run(&recorded, Keeps::AsRecorded).await;
                divergence::check(&recorded, seen).map_err(|difference| {
                    let found = Divergence::new(&recorded, difference, file, offset);
                    ReplayError::Diverged(Box::new(found))
                })?;
                if replayed.runs == 0 {
                    replayed.first_run = recorded.run;
                }
                replayed.runs += 1;
            }
        }
    }
    replayed.torn_bytes = entries.torn_bytes();
    replayed.context = shown(&rehearsal.cx.shared.committed.values());
    Ok(replayed)
}

/// Returns a context for people.
fn shown(values: &Values) -> BTreeMap<Arc<str>, serde_json::Value> {
    let value = |json: &str| serde_json::from_str(json).unwrap_or(serde_json::Value::Null);
    let pairs = values.iter();
    pairs
        .map(|(key, json)| (key.clone(), value(json)))
        .collect()
}
