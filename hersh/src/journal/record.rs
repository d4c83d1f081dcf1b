//! What the journal says, as data.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::EndKind;
use crate::clock::epoch_ns;
use crate::engine::RunKind;
use crate::returned::RunReturn;
use crate::var::{Current, Update, Value, Var};

/// The form of the entries. A later form gets the next number.
pub(crate) const VERSION: u32 = 1;

/// One entry of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The first of each part.
    Began(Box<Part>),
    /// A run that ended.
    Run(Box<RecordedRun>),
    /// The last of a session that ended well enough to say so.
    Ended {
        /// How, in a sentence.
        ending: String,
        /// When, nanoseconds since the Unix epoch.
        at_ns: u64,
    },
}

/// How a part begins: all that its runs build on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The watcher's name.
    pub(crate) watcher: Arc<str>,
    /// Which life of the watcher: a random number.
    pub(crate) session: u64,
    /// Which part of the session, 0 for the first.
    pub(crate) number: u32,
    /// Where the random numbers come from.
    pub(crate) seed: u64,
    /// When the part began, nanoseconds since the Unix epoch.
    pub(crate) at_ns: u64,
    /// The durable context: keys and JSON.
    pub(crate) context: Vec<(Arc<str>, Arc<str>)>,
    /// The registered variables.
    pub(crate) variables: Vec<SavedVariable>,
}

/// A run: what it took in, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedRun {
    /// Its number, 1 for the first of a session.
    pub(crate) run: u64,
    /// What for.
    pub(crate) kind: RunKind,
    /// The time that it saw, nanoseconds since the Unix epoch.
    pub(crate) now_ns: u64,
    /// Its message.
    pub(crate) message: Option<Arc<str>>,
    /// The variables' updates that it took in, in their order.
    pub(crate) updates: Vec<RecordedUpdate>,
    /// How many random numbers it drew.
    pub(crate) draws: u64,
    /// How it ended.
    pub(crate) outcome: RecordedOutcome,
    /// What it changed in the durable context: keys and JSON, none for a removed one.
    pub(crate) context: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// What it logged.
    pub(crate) logs: Vec<Arc<str>>,
    /// How many more lines it logged than are kept here.
    pub(crate) logs_left_out: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordedOutcome {
    /// Well.
    Succeeded,
    /// With a control value.
    Steered {
        /// The end that it asked for.
        kind: EndKind,
        /// Why.
        reason: Arc<str>,
    },
    /// With an error or a panic.
    Failed {
        /// What it said.
        reason: Arc<str>,
    },
    /// Not in time: it was dropped.
    TimedOut,
    /// It was dropped because the watcher had to end.
    Dropped,
    /// Well, but what it changed could not be made durable and was forgotten.
    Unsaved {
        /// Why.
        reason: Arc<str>,
    },
}

/// A value, as far as it could be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordedValue {
    /// There is none.
    #[default]
    None,
    /// As JSON.
    Json(String),
    /// It could not be written; why.
    Unwritable(String),
}

/// An update of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedUpdate {
    /// The variable.
    pub(crate) name: String,
    /// Its new value.
    pub(crate) value: RecordedValue,
    /// Its error.
    pub(crate) error: Option<Arc<str>>,
    /// When it was updated, nanoseconds since the Unix epoch.
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

impl RecordedRun {
    /// The time that it saw.
    pub(crate) fn now(&self) -> SystemTime {
        time(self.now_ns)
    }
}

impl RecordedOutcome {
    /// What the journal says of a function that returned.
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

    /// Whether what the run changed counts.
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
    /// What the journal says of an update of `var`.
    pub(crate) fn of(var: &Var, update: &Update) -> Self {
        Self {
            name: var.name.as_ref().into(),
            value: update.value.as_ref().into_recorded(var),
            error: update.error.clone(),
            at_ns: epoch_ns(update.at),
        }
    }

    /// Makes the update once more, as taken in by `run`.
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
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the journal says of `var`.
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

    /// Gives all of it to the variable that was registered again.
    pub(crate) fn restore(self, var: &Var) -> Result<(), String> {
        let value = self.value.read(var)?.unwrap_or(var.current().value);
        var.restore(Current {
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
