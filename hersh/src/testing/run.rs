//! What a run under test did.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::journal::{RecordedOutcome, RecordedRun};
use crate::{EffectId, EndKind, Ending};

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The number of the run, 1 for the first.
    pub number: u64,
    /// How the run ended.
    pub outcome: RunEnd,
    /// The lines that the run logged, in order.
    pub logs: Vec<Arc<str>>,
    /// What the run changed in the durable context, `null` for a removed key; empty when it failed.
    pub changes: BTreeMap<Arc<str>, serde_json::Value>,
    /// The effects that the run asked for, in order; empty when it failed.
    pub asked: Vec<Asked>,
    /// The effects that the run cancelled, in order; empty when it failed.
    pub cancelled: Vec<EffectId>,
    /// Whether the run asked for another run.
    pub again: bool,
    /// What the run replied to its message, as JSON; `None` when it failed.
    pub reply: Option<serde_json::Value>,
    /// How many random numbers the run drew.
    pub draws: u64,
}

/// An effect that a run asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The id of the effect.
    pub id: EffectId,
    /// The name that the effect is registered under.
    pub effect: Arc<str>,
    /// The key of an effect that was started in order.
    pub key: Option<Arc<str>>,
    /// The input as JSON.
    pub input: serde_json::Value,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The run succeeded.
    Succeeded,
    /// The run returned a [`crate::Control`].
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
    /// The run did not end within 60 s of virtual time.
    TimedOut,
}

impl Run {
    /// Returns this run, if it succeeded.
    ///
    /// # Panics
    /// When the run did not succeed.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "asserting is a use")]
    pub fn ok(self) -> Self {
        let number = self.number;
        match &self.outcome {
            RunEnd::Succeeded => self,
            RunEnd::Steered { .. } | RunEnd::Failed { .. } | RunEnd::TimedOut => {
                panic!("run {number} did not succeed: {:?}", self.outcome)
            }
        }
    }

    /// Returns the only line that the run logged.
    ///
    /// # Panics
    /// When the run logged none or several.
    #[track_caller]
    #[must_use]
    pub fn log(&self) -> &str {
        match self.logs.as_slice() {
            [line] => line,
            lines => panic!(
                "run {} logged {} lines: {lines:?}",
                self.number,
                lines.len()
            ),
        }
    }

    /// Returns why the run failed.
    ///
    /// # Panics
    /// When the run did not fail.
    #[track_caller]
    #[must_use]
    pub fn failure(&self) -> &str {
        match &self.outcome {
            RunEnd::Failed { reason } => reason,
            RunEnd::Succeeded | RunEnd::Steered { .. } | RunEnd::TimedOut => {
                panic!("run {} did not fail: {:?}", self.number, self.outcome)
            }
        }
    }

    /// Returns the end that the run asked for, by a [`crate::Control`].
    ///
    /// # Panics
    /// When the run asked for none.
    #[track_caller]
    #[must_use]
    pub fn ending(&self) -> Ending {
        match &self.outcome {
            RunEnd::Steered { kind, reason } => Ending::new(*kind, reason.clone()),
            RunEnd::Succeeded | RunEnd::Failed { .. } | RunEnd::TimedOut => {
                panic!("run {} asked for no end: {:?}", self.number, self.outcome)
            }
        }
    }

    pub(super) fn new(run: RecordedRun) -> Self {
        let value = |json: &str| serde_json::from_str(json).unwrap_or(serde_json::Value::Null);
        let outcome = match run.outcome {
            RecordedOutcome::Succeeded | RecordedOutcome::Unsaved { .. } => RunEnd::Succeeded,
            RecordedOutcome::Steered { kind, reason } => RunEnd::Steered { kind, reason },
            RecordedOutcome::Failed { reason } => RunEnd::Failed { reason },
            RecordedOutcome::TimedOut | RecordedOutcome::Dropped => RunEnd::TimedOut,
        };
        Self {
            number: run.run,
            outcome,
            logs: run.logs,
            changes: run
                .context
                .iter()
                .map(|(key, json)| {
                    let value = json.as_deref().map_or(serde_json::Value::Null, value);
                    (key.clone(), value)
                })
                .collect(),
            asked: run
                .acts
                .asked
                .into_iter()
                .map(|ask| Asked {
                    id: ask.id,
                    input: value(&ask.input),
                    effect: ask.effect,
                    key: ask.key,
                })
                .collect(),
            cancelled: run.acts.cancelled,
            again: run.acts.again,
            reply: run.acts.reply.as_deref().map(value),
            draws: run.draws,
        }
    }
}
