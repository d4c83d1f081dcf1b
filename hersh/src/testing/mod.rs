//! Tests of managed functions: no thread, no socket, no waiting.
//!
//! [`Test`] calls a function run by run with signals that the test makes up, and shows what each
//! run did; a run costs about a microsecond. No source runs: the test sets the values of the
//! variables.
//!
//! ```
//! use hersh::{Context, Result, testing::Test};
//!
//! async fn managed(cx: &mut Context) -> Result {
//!     let price = cx.watch_flow("price", 0.0, || futures_util::stream::pending::<Result<f64>>())?;
//!     if price.is_triggered(cx) && *price < 10.0 {
//!         cx.log("cheap");
//!         cx.update("bought", |n: u32| n + 1)?;
//!     }
//!     Ok(())
//! }
//!
//! let mut test = Test::new(managed);
//! test.start().ok();
//! assert_eq!(test.change("price", &12.0).ok().logs.len(), 0);
//! assert_eq!(test.change("price", &9.0).ok().log(), "cheap");
//! assert_eq!(test.value::<u32>("bought"), Some(1));
//! ```
//!
//! [`play`] runs a whole watcher, with its sources, recovery and cleanup, in virtual time: hours
//! pass in milliseconds, and everything happens at the same virtual time in every execution of the
//! test.

mod effects;
mod play;
mod run;
mod setup;
mod signals;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

#[cfg(test)]
pub(crate) use play::play_here;
pub use play::{pass, play};
pub use run::{Asked, Run, RunEnd};
pub use setup::Setup;
pub use signals::Signals;

use signals::{json, update};

use crate::base::clock::epoch_ns;
use crate::engine::RunKind;
use crate::journal::{
    Part, RecordedActs, RecordedOutcome, RecordedRun, RecordedSettlement, RecordedUpdate, VERSION,
};
use crate::replay::{Keeps, Rehearsal};
use crate::{Context, Error};

/// The time at which tests begin: 2026-01-01T00:00:00Z.
const BEGINNING: Duration = Duration::from_secs(1_767_225_600);

/// A managed function under test.
pub struct Test<F> {
    rehearsal: Rehearsal<F>,
    runtime: Runtime,
    local: LocalSet,
    now: SystemTime,
    runs: u64,
    /// The outcome that the last run took in, if that run failed.
    unsettled: Option<RecordedSettlement>,
    /// The message of the last run, if that failed.
    unserved: Option<Arc<str>>,
}

impl<F, E> Test<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    /// Returns a test whose function finds nothing when it begins. Its time begins at
    /// 2026-01-01T00:00:00Z.
    ///
    /// # Panics
    /// When no runtime can be made, or inside another runtime: use it in a plain `#[test]`.
    #[must_use]
    pub fn new(managed: F) -> Self {
        Self::with(Setup::new(), managed)
    }

    /// Returns a test whose function finds what `setup` says.
    ///
    /// # Panics
    /// As [`Test::new`].
    #[must_use]
    pub fn with(setup: Setup, managed: F) -> Self {
        let now = SystemTime::UNIX_EPOCH + BEGINNING;
        let part = Part {
            version: VERSION,
            watcher: "test".into(),
            session: 0,
            number: 0,
            seed: setup.seed,
            at_ns: epoch_ns(now),
            context: setup.context.into_iter().collect(),
            variables: Vec::new(),
        };
        let runtime = paused();
        let local = LocalSet::new();
        let env = Arc::new(setup.env);
        let rehearsal = {
            let _inside = runtime.enter();
            Rehearsal::new(managed, part, env, Duration::from_secs(60))
        };
        Self {
            rehearsal,
            runtime,
            local,
            now,
            runs: 0,
            unsettled: None,
            unserved: None,
        }
    }

    /// Makes the first run.
    pub fn start(&mut self) -> Run {
        self.run(RunKind::Init, None, Vec::new())
    }

    /// Makes a run with a message.
    pub fn message(&mut self, content: impl Into<Arc<str>>) -> Run {
        self.signals().message(content).run()
    }

    /// Makes a run with a new value of one variable.
    ///
    /// # Panics
    /// When the value cannot be written as JSON or is none of the variable's type, or no hook has
    /// registered the variable by the end of the run.
    pub fn change<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Run {
        self.signals().change(name, value).run()
    }

    /// Makes a run with an error of one variable's source.
    pub fn fail(&mut self, name: &str, error: &str) -> Run {
        self.signals().fail(name, error).run()
    }

    /// Makes a run of the kind that follows a failed run. It takes in the message or the outcome of that run again,
    /// if there was one.
    pub fn recover(&mut self) -> Run {
        let (message, settled) = (self.unserved.clone(), self.unsettled.clone());
        self.run_with(RunKind::Recover, message, Vec::new(), settled)
    }

    /// Returns a set of signals for one run, empty at first.
    pub fn signals(&mut self) -> Signals<'_, F> {
        Signals::none(self)
    }

    /// Lets time pass, and makes a run whenever ticks or timers are due meanwhile. One run takes in all that
    /// are due at the same moment.
    ///
    /// # Panics
    /// When more than a million runs would follow.
    pub fn advance(&mut self, time: Duration) -> Vec<Run> {
        let end = self.now + time;
        let mut runs: Vec<Run> = Vec::new();
        // A timer whose run fails is due again at once. It comes with the next run instead, as it would come
        // with a retry.
        let succeeds = |runs: &[Run]| runs.iter().all(|run| run.outcome == RunEnd::Succeeded);
        while let Some((at, ticks)) = self.rehearsal.cx.next_ticks(self.now, end, succeeds(&runs)) {
            assert!(runs.len() < 1_000_000, "more than a million runs are due");
            self.now = at;
            let ticks = ticks.iter();
            let updates = ticks.map(|(name, tick)| update(name, Ok(json(name, tick)), at));
            runs.push(self.run(RunKind::Signal, None, updates.collect()));
        }
        self.now = end;
        runs
    }

    /// Returns a value of the durable context, as the last successful run left it.
    ///
    /// # Panics
    /// When the value is no `T`.
    #[must_use]
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let values = self.rehearsal.cx.shared.committed.values();
        let json = values.get(key).map(AsRef::as_ref);
        match crate::store::decode("Test::value", key, json) {
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the time that the next run sees.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    fn run(
        &mut self,
        kind: RunKind,
        message: Option<Arc<str>>,
        updates: Vec<RecordedUpdate>,
    ) -> Run {
        self.run_with(kind, message, updates, None)
    }

    fn run_with(
        &mut self,
        kind: RunKind,
        message: Option<Arc<str>>,
        updates: Vec<RecordedUpdate>,
        settled: Option<RecordedSettlement>,
    ) -> Run {
        self.unsettled.clone_from(&settled);
        self.unserved.clone_from(&message);
        self.runs += 1;
        let inputs = RecordedRun {
            run: self.runs,
            kind,
            now_ns: epoch_ns(self.now),
            message,
            updates,
            draws: 0,
            outcome: RecordedOutcome::Succeeded,
            context: Vec::new(),
            logs: Vec::new(),
            logs_left_out: 0,
            acts: RecordedActs {
                settled,
                ..RecordedActs::default()
            },
        };
        let work = self.rehearsal.run(&inputs, Keeps::AsRecorded);
        let seen = match self.local.block_on(&self.runtime, work) {
            Ok(seen) => seen,
            Err(what) => panic!("a value does not fit its variable: {what}"),
        };
        for update in &seen.run.updates {
            let name = update.name.as_str();
            let known = self.rehearsal.cx.watches.contains_key(name);
            assert!(known, "no hook has registered a variable {name:?}");
        }
        let run = Run::new(seen.run);
        if run.outcome == RunEnd::Succeeded {
            self.unsettled = None;
            self.unserved = None;
        }
        run
    }
}

/// Makes the first run of a function, which must succeed.
///
/// # Panics
/// When the run fails, and as [`Test::new`].
pub fn once<F, E>(managed: F)
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    Test::new(managed).start().ok();
}

fn paused() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime for the test: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Watcher;

    const SECOND: Duration = Duration::from_secs(1);

    async fn two_ticks(cx: &mut Context) -> crate::Result {
        cx.watch_tick("one", SECOND)?;
        cx.watch_tick("two", SECOND * 2)?;
        let names: Vec<&str> = cx.triggered().variables.iter().map(|it| &**it).collect();
        let names = names.join(" ");
        cx.log(names);
        Ok(())
    }

    #[test]
    fn ticks_that_are_due_together_are_taken_in_together() {
        let mut test = Test::new(two_ticks);
        test.start().ok();
        let logs = |runs: Vec<Run>| -> Vec<String> {
            runs.iter().map(|run| run.log().to_owned()).collect()
        };
        assert_eq!(logs(test.advance(SECOND * 3)), ["one", "one two", "one"]);
        assert_eq!(logs(test.advance(SECOND / 2)), Vec::<String>::new());
        assert_eq!(logs(test.advance(SECOND / 2)), ["one two"]);
    }

    #[test]
    #[should_panic(expected = "no hook has registered a variable \"tree\"")]
    fn a_misspelt_variable_is_told() {
        let mut test = Test::new(two_ticks);
        test.start().ok();
        test.change("tree", &3);
    }

    #[test]
    fn a_script_that_forgets_the_end_is_not_waited_for_for_ever() {
        let ending = play(Watcher::builder("test"), two_ticks, async |_| {});
        assert_eq!(ending.to_string(), "Stopped: the script is over");
    }
}
