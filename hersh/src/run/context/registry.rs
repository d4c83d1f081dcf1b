//! The registered variables of a watcher, by name.

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use super::Context;
use crate::error::check_name;
use crate::inbox::{Var, Watchable};
use crate::journal::SavedVariable;
use crate::sources::{self, Target};
use crate::{HookError, Tick, WATCH_LIMIT, Watched};

/// A registered variable.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) var: Arc<Var>,
    source: Source,
    registered_at: SystemTime,
    /// The task that feeds the variable, if sources run.
    task: Option<AbortHandle>,
}

/// Where a variable's values come from. A name keeps its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Tick {
        every: Duration,
    },
    Call {
        hook: &'static str,
        every: Duration,
        value: &'static str,
    },
    Flow {
        value: &'static str,
    },
}

/// Whether sources run.
#[derive(Debug)]
pub(crate) enum Sources {
    /// Sources run.
    Live,
    /// No source runs: values come from a journal or a test. A variable that is not registered yet
    /// finds here what it had when the journal's part began.
    Scripted {
        /// The saved variables, by name.
        saved: FxHashMap<Arc<str>, SavedVariable>,
    },
}

impl Context {
    /// Returns the next ticks and timers that are due after `now` and until `end`: their time, and the ticks
    /// that are due then. A run finds the timers by itself. For tests, in which no source runs.
    pub(crate) fn next_ticks(
        &self,
        now: SystemTime,
        end: SystemTime,
        with_timers: bool,
    ) -> Option<(SystemTime, BTreeMap<Arc<str>, Tick>)> {
        let due = |watch: &Watch| match watch.source {
            Source::Tick { every } => {
                let since = now.duration_since(watch.registered_at).unwrap_or_default();
                let count = since.as_nanos() / every.as_nanos().max(1) + 1;
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                let at = watch.registered_at + sources::times(every, count);
                (at <= end).then(|| (at, watch.var.name.clone(), Tick::new(count, at)))
            }
            Source::Call { .. } | Source::Flow { .. } => None,
        };
        let due: Vec<_> = self.watches.values().filter_map(due).collect();
        let timer = self.timers.next_ms().filter(|_| with_timers);
        let timer = timer.map(|due_ms| UNIX_EPOCH + Duration::from_millis(due_ms));
        let timer = timer.map(|due| due.max(now)).filter(|due| *due <= end);
        let first = due.iter().map(|(at, _, _)| *at).chain(timer).min()?;
        let together = due.into_iter().filter(|(at, _, _)| *at == first);
        Some((
            first,
            together.map(|(_, name, tick)| (name, tick)).collect(),
        ))
    }

    /// Registers a variable and reads it. Returns the target of its source too, if sources run.
    pub(super) fn register<T: Watchable>(
        &mut self,
        hook: &'static str,
        name: &str,
        source: Source,
        initial: &Arc<T>,
    ) -> Result<(Watched<T>, Option<Target>), HookError> {
        check_name(hook, name)?;
        self.in_a_run(hook, name)?;
        if self.watches.len() >= WATCH_LIMIT {
            return Err(HookError::Limit {
                hook,
                name: name.into(),
                limit: WATCH_LIMIT,
            });
        }
        let recorded = |message| HookError::Recorded {
            hook,
            name: name.into(),
            asked: type_name::<T>(),
            message,
        };
        let name: Arc<str> = name.into();
        let var = Arc::new(Var::new::<T>(name.clone(), initial.clone(), self.now));
        let target = match &mut self.sources {
            Sources::Live => Some(Target {
                shared: self.shared.clone(),
                var: var.clone(),
            }),
            Sources::Scripted { saved } => {
                if let Some(saved) = saved.remove(&name) {
                    saved.restore(&var).map_err(recorded)?;
                }
                None
            }
        };
        let watched = Watched::read(&var.current());
        let watched = watched.ok_or_else(|| recorded("its type is another".into()))?;
        self.shared.add_variable(var.clone());
        let registered_at = self.now;
        let watch = Watch {
            var,
            source,
            registered_at,
            task: None,
        };
        self.watches.insert(name, watch);
        Ok((watched, target))
    }

    /// Notes the task that feeds a variable which was registered a moment ago.
    pub(super) fn is_fed_by(&mut self, name: &str, task: AbortHandle) {
        if let Some(watch) = self.watches.get_mut(name) {
            watch.task = Some(task);
        }
    }

    /// Takes a variable off, and ends its source. Returns whether it was registered.
    pub(super) fn unregister(&mut self, name: &str) -> bool {
        let Some(Watch { var, task, .. }) = self.watches.remove(name) else {
            return false;
        };
        // The task ends before anything else is polled on this thread, so nothing is offered after this.
        if let Some(task) = task {
            task.abort();
        }
        var.forget_update();
        self.shared.remove_variable(name);
        true
    }

    /// Reads a variable; `None` when it is not registered.
    pub(super) fn read<T: Watchable>(
        &self,
        hook: &'static str,
        name: &str,
        asked: &Source,
    ) -> Option<Result<Watched<T>, HookError>> {
        let watch = self.watches.get(name)?;
        let clash = || HookError::Clash {
            hook,
            name: name.into(),
            registered: watch.source.to_string(),
            asked: asked.to_string(),
        };
        if watch.source != *asked {
            return Some(Err(clash()));
        }
        Some(Watched::read(&watch.var.current()).ok_or_else(clash))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tick { every } => write!(f, "a tick every {every:?}"),
            Self::Call { hook, every, value } => {
                write!(f, "a {hook} every {every:?} of type {value}")
            }
            Self::Flow { value } => write!(f, "a flow of type {value}"),
        }
    }
}
