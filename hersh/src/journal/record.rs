//! The entries of a journal, as data.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::RecordedActs;
use crate::EndKind;
use crate::base::clock::epoch_ns;
use crate::engine::RunKind;
use crate::error::RunReturn;
use crate::inbox::{CurrentValue, Update, Value, Var};
use crate::store::LedgerOutline;

/// The version of the entries' format. A later format gets the next number.
pub(crate) const VERSION: u32 = 2;
/// The oldest version that is read: one without effects.
pub(crate) const OLDEST_VERSION: u32 = 1;

/// One entry of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The first entry of each part.
    Began(Box<Part>),
    /// A run that ended, without [`RecordedActs`].
    Run(Box<RecordedRun>),
    /// The last entry of a session, if the session ended well enough to write it.
    Ended {
        /// How the session ended, in a sentence.
        ending: String,
        /// When the session ended, nanoseconds since the Unix epoch.
        at_ns: u64,
    },
    /// The open effects at the beginning of a part.
    Effects(LedgerOutline),
    /// A run that ended, with [`RecordedActs`].
    ActingRun(Box<RecordedRun>, Box<RecordedActs>),
}

/// The beginning of a part: all that its runs build on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The version of the part's format: see [`VERSION`].
    pub(crate) version: u32,
    /// The watcher's name.
    pub(crate) watcher: Arc<str>,
    /// A random number that names the session, one life of the watcher.
    pub(crate) session: u64,
    /// The number of the part within its session, 0 for the first.
    pub(crate) number: u32,
    /// The seed of the watcher's random numbers.
    pub(crate) seed: u64,
    /// When the part began, nanoseconds since the Unix epoch.
    pub(crate) at_ns: u64,
    /// The durable context at the beginning: keys and JSON.
    pub(crate) context: Vec<(Arc<str>, Arc<str>)>,
    /// The variables that were registered at the beginning.
    pub(crate) variables: Vec<SavedVariable>,
}

/// A run: its inputs and its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedRun {
    /// The number of the run, 1 for the first of a session.
    pub(crate) run: u64,
    /// What the run was for.
    pub(crate) kind: RunKind,
    /// The time that the run saw, nanoseconds since the Unix epoch.
    pub(crate) now_ns: u64,
    /// The message of the run, if it had one.
    pub(crate) message: Option<Arc<str>>,
    /// The updates of variables that the run took in, in their order.
    pub(crate) updates: Vec<RecordedUpdate>,
    /// How many random numbers the run drew.
    pub(crate) draws: u64,
    /// How the run ended.
    pub(crate) outcome: RecordedOutcome,
    /// What the run changed in the durable context: keys and JSON, no JSON for a removed key.
    pub(crate) context: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// The lines that the run logged.
    pub(crate) logs: Vec<Arc<str>>,
    /// How many more lines the run logged than are kept here.
    pub(crate) logs_left_out: u64,
    /// What else belongs to the run; written beside it, if anything.
    #[serde(skip)]
    pub(crate) acts: RecordedActs,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordedOutcome {
    /// The run succeeded.
    Succeeded,
    /// The run returned a control value.
    Steered {
        /// The end that the run asked for.
        kind: EndKind,
        /// Why the run asked for the end.
        reason: Arc<str>,
    },
    /// The run returned an error or panicked.
    Failed {
        /// The text of the error or of the panic.
        reason: Arc<str>,
    },
    /// The run did not end in time and was dropped.
    TimedOut,
    /// The run was dropped because the watcher had to end.
    Dropped,
    /// The run succeeded, but its changes could not be made durable and were forgotten.
    Unsaved {
        /// Why the changes could not be made durable.
        reason: Arc<str>,
    },
}

/// A value as the journal holds it, if it could be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordedValue {
    /// There is no value.
    #[default]
    None,
    /// The value as JSON.
    Json(String),
    /// The value could not be written; holds the reason.
    Unwritable(String),
}

/// An update of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedUpdate {
    /// The name of the variable.
    pub(crate) name: String,
    /// The new value of the variable.
    pub(crate) value: RecordedValue,
    /// The error of the variable, if it has one.
    pub(crate) error: Option<Arc<str>>,
    /// When the variable was updated, nanoseconds since the Unix epoch.
    pub(crate) at_ns: u64,
}

/// A variable as it was when a part began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedVariable {
    name: String,
    value: RecordedValue,
    error: Option<Arc<str>>,
    updated_at_ns: u64,
    initial: bool,
    changed_in_run: u64,
}

impl From<Box<RecordedRun>> for Entry {
    fn from(mut run: Box<RecordedRun>) -> Self {
        if run.acts.is_empty() {
            return Self::Run(run);
        }
        let acts = std::mem::take(&mut run.acts);
        Self::ActingRun(run, Box::new(acts))
    }
}

impl RecordedRun {
    /// Returns the time that the run saw.
    pub(crate) fn now(&self) -> SystemTime {
        time(self.now_ns)
    }
}

impl RecordedOutcome {
    /// Returns what the journal says of a function that returned.
    pub(crate) fn of(returned: &RunReturn) -> Self {
        match returned {
            RunReturn::Well => Self::Succeeded,
            RunReturn::Steered(ending) => Self::Steered {
                kind: ending.kind,
                reason: ending.reason.clone(),
            },
            RunReturn::Failed { reason, .. } => Self::Failed {
                reason: reason.clone(),
            },
        }
    }

    /// Returns whether the run, or its save, was cut short from outside.
    pub(crate) fn is_cut_short(&self) -> bool {
        match self {
            Self::TimedOut | Self::Dropped | Self::Unsaved { .. } => true,
            Self::Succeeded | Self::Steered { .. } | Self::Failed { .. } => false,
        }
    }

    /// Returns whether the changes of the run count.
    pub(crate) fn keeps_changes(&self) -> bool {
        match self {
            Self::Succeeded => true,
            Self::Steered { kind, .. } => match kind {
                EndKind::Stopped | EndKind::Killed => true,
                EndKind::Crashed => false,
            },
            Self::Failed { .. } | Self::TimedOut | Self::Dropped | Self::Unsaved { .. } => false,
        }
    }
}

impl RecordedUpdate {
    /// Returns what the journal says of an update of `var`.
    pub(crate) fn of(var: &Var, update: &Update) -> Self {
        Self {
            name: var.name.as_ref().into(),
            value: update.value.as_ref().into_recorded(var),
            error: update.error.clone(),
            at_ns: epoch_ns(update.at),
        }
    }

    /// Applies the update to `var` once more, as taken in by `run`.
    pub(crate) fn apply(&self, var: &Var, run: u64) -> Result<(), String> {
        let update = Update {
            value: self.value.read(var)?,
            error: self.error.clone(),
            at: time(self.at_ns),
        };
        var.apply(update, run);
        Ok(())
    }
}

impl SavedVariable {
    /// Returns the name of the variable.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the journal says of `var`.
    pub(crate) fn of(var: &Var) -> Self {
        let current = var.current();
        let value = (!current.initial).then_some(&current.value);
        Self {
            name: var.name.as_ref().into(),
            value: value.into_recorded(var),
            error: current.error,
            updated_at_ns: epoch_ns(current.updated_at),
            initial: current.initial,
            changed_in_run: current.changed_in_run,
        }
    }

    /// Takes in an update for a variable that is not registered again yet.
    pub(crate) fn update(&mut self, update: &RecordedUpdate, run: u64) {
        self.name.clone_from(&update.name);
        if update.value != RecordedValue::None {
            self.value = update.value.clone();
            self.initial = false;
        }
        self.error.clone_from(&update.error);
        self.updated_at_ns = update.at_ns;
        self.changed_in_run = run;
    }

    /// Gives all that was saved to `var`, the variable that was registered again.
    pub(crate) fn restore(self, var: &Var) -> Result<(), String> {
        let value = self.value.read(var)?.unwrap_or(var.current().value);
        var.restore(CurrentValue {
            value,
            error: self.error,
            updated_at: time(self.updated_at_ns),
            initial: self.initial,
            changed_in_run: self.changed_in_run,
        });
        Ok(())
    }
}

impl RecordedValue {
    fn read(&self, var: &Var) -> Result<Option<Value>, String> {
        match self {
            Self::None => Ok(None),
            Self::Json(json) => var.read(json).map(Some),
            Self::Unwritable(error) => Err(format!("it could not be recorded: {error}")),
        }
    }
}

/// Turns a value of a variable into what the journal says of it.
trait IntoRecorded {
    fn into_recorded(self, var: &Var) -> RecordedValue;
}

impl IntoRecorded for Option<&Value> {
    fn into_recorded(self, var: &Var) -> RecordedValue {
        match self.map(|value| var.write(value)) {
            None => RecordedValue::None,
            Some(Ok(json)) => RecordedValue::Json(json),
            Some(Err(error)) => RecordedValue::Unwritable(error),
        }
    }
}

impl std::fmt::Display for RecordedOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Steered { kind, reason } => write!(f, "asked for {}: {reason}", kind.state()),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::TimedOut => f.write_str("did not end in time"),
            Self::Dropped => f.write_str("was dropped because the watcher ended"),
            Self::Unsaved { reason } => write!(f, "succeeded, unsaved: {reason}"),
        }
    }
}

fn time(ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(ns)
}
