//! What a managed function sees and uses: its hooks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, de::DeserializeOwned};

use crate::hook_error::check_name;
use crate::inbox::Intake;
use crate::logbook::{Level, LogKind};
use crate::shared::Shared;
use crate::store::Store;
use crate::var::Var;
use crate::{HookError, INTERVAL_MAX, INTERVAL_MIN, Tick, WATCH_LIMIT, Watched, sources};

/// Everything that a managed function reads and changes. Given to each run by `&mut`; nothing of
/// it can be kept beyond the run.
#[derive(Debug)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    env: Arc<BTreeMap<String, String>>,
    watches: HashMap<Arc<str>, Watch>,
    intake: Intake,
    triggered: Triggered,
    run: u64,
    now: SystemTime,
    in_cleanup: bool,
}

/// What caused a run. Several causes are taken in by one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggered {
    /// It is the first run.
    pub init: bool,
    /// It is another try after a failed run.
    pub recovery: bool,
    /// A message came in: [`Context::message`].
    pub message: bool,
    /// The watched variables that changed, by name.
    pub variables: Vec<Arc<str>>,
}

/// A registered variable.
#[derive(Debug)]
struct Watch {
    var: Arc<Var>,
    source: Source,
}

/// Where a variable's values come from. A name keeps its source.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Tick { every: Duration },
}

impl Context {
    /// Watches the time: a value every `every`, counted from now on.
    ///
    /// The first call registers the variable `name` and sees its initial value, a count of 0.
    ///
    /// # Errors
    /// [`HookError`] when the name is unusable or taken by another hook or interval, the limit of
    /// [`WATCH_LIMIT`] variables is reached, or the interval is not within [`INTERVAL_MIN`] and
    /// [`INTERVAL_MAX`].
    pub fn watch_tick(&mut self, name: &str, every: Duration) -> Result<Watched<Tick>, HookError> {
        const HOOK: &str = "watch_tick";
        let source = Source::Tick { every };
        if !self.watches.contains_key(name) {
            if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&every) {
                return Err(HookError::Interval {
                    hook: HOOK,
                    name: name.chars().take(80).collect(),
                    every,
                });
            }
            let at = self.now;
            let var = self.register(HOOK, name, source.clone(), Tick { count: 0, at })?;
            sources::tick(self.shared.clone(), var, every);
        }
        self.read(HOOK, name, &source)
    }

    /// The message that caused this run, if one did. Each message has exactly one run.
    #[must_use]
    pub fn message(&self) -> Option<Arc<str>> {
        self.intake.message.clone()
    }

    /// What caused this run.
    #[must_use]
    pub fn triggered(&self) -> &Triggered {
        &self.triggered
    }

    /// A value of the durable context, or `None` if the key was never set.
    ///
    /// # Errors
    /// [`HookError`] when the stored value is no `T`.
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HookError> {
        self.store.get("value", key)
    }

    /// Sets a value of the durable context. It counts for this run at once, and is committed
    /// with all others of the run when the run succeeds; a failed run leaves no trace.
    ///
    /// # Errors
    /// [`HookError`] when the value cannot be written as JSON or the context would grow past its
    /// limits.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), HookError> {
        self.store.set("set", key, value)
    }

    /// Replaces a value of the durable context by a function of it, starting from the type's
    /// default, and gives the new one. See [`Context::set`].
    ///
    /// # Errors
    /// As [`Context::value`] and [`Context::set`].
    pub fn update<T>(&mut self, key: &str, next: impl FnOnce(T) -> T) -> Result<T, HookError>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let value = next(self.store.get("update", key)?.unwrap_or_default());
        self.store.set("update", key, &value)?;
        Ok(value)
    }

    /// A variable of the environment as it was when the watcher was made.
    #[must_use]
    pub fn env(&self, key: &str) -> Option<&str> {
        self.env.get(key).map(String::as_str)
    }

    /// The time of this run: the same for all of it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// The number of this run, 1 for the first.
    #[must_use]
    pub fn run_number(&self) -> u64 {
        self.run
    }

    /// Writes a line into the watcher's log (and to stdout, if the watcher was told to).
    pub fn log(&self, message: impl AsRef<str>) {
        let shared = &self.shared;
        let time = shared.clock.wall();
        let message = message.as_ref();
        shared
            .log
            .write(time, Level::Info, LogKind::Effect, self.run, message);
    }

    /// A context for a watcher that has not run.
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Store,
        env: Arc<BTreeMap<String, String>>,
    ) -> Self {
        let now = shared.clock.wall();
        Self {
            shared,
            store,
            env,
            watches: HashMap::new(),
            intake: Intake::default(),
            triggered: Triggered::default(),
            run: 0,
            now,
            in_cleanup: false,
        }
    }

    /// Takes in what the next run begins with.
    pub(crate) fn begin_run(&mut self, init: bool, recovery: bool, with_message: bool) {
        self.run += 1;
        self.now = self.shared.clock.wall();
        self.shared.inbox.begin_run(with_message, &mut self.intake);
        self.triggered.init = init;
        self.triggered.recovery = recovery;
        self.triggered.message = with_message;
        self.triggered.variables.clear();
        for var in self.intake.changed.drain(..) {
            var.take_in(self.run);
            self.triggered.variables.push(var.name.clone());
        }
    }

    /// Prepares for the cleanup function.
    pub(crate) fn begin_cleanup(&mut self) {
        self.now = self.shared.clock.wall();
        self.intake.message = None;
        self.triggered = Triggered::default();
        self.in_cleanup = true;
    }

    fn register<T>(
        &mut self,
        hook: &'static str,
        name: &str,
        source: Source,
        initial: T,
    ) -> Result<Arc<Var>, HookError>
    where
        T: Serialize + Send + Sync + 'static,
    {
        check_name(hook, name)?;
        if self.in_cleanup {
            return Err(HookError::OutsideRun {
                hook,
                name: name.into(),
            });
        }
        if self.watches.len() >= WATCH_LIMIT {
            return Err(HookError::Limit {
                hook,
                name: name.into(),
                limit: WATCH_LIMIT,
            });
        }
        let name: Arc<str> = name.into();
        let var = Arc::new(Var::new(name.clone(), initial, self.now));
        self.shared.add_variable(var.clone());
        let watch = Watch {
            var: var.clone(),
            source,
        };
        self.watches.insert(name, watch);
        Ok(var)
    }

    fn read<T: Send + Sync + 'static>(
        &self,
        hook: &'static str,
        name: &str,
        asked: &Source,
    ) -> Result<Watched<T>, HookError> {
        let clash = |registered: String| HookError::Clash {
            hook,
            name: name.into(),
            registered,
            asked: asked.to_string(),
        };
        let Some(watch) = self.watches.get(name) else {
            return Err(clash("nothing".into()));
        };
        if watch.source != *asked {
            return Err(clash(watch.source.to_string()));
        }
        Watched::read(watch.var.current()).ok_or_else(|| clash(watch.source.to_string()))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tick { every } => write!(f, "a tick every {every:?}"),
        }
    }
}
