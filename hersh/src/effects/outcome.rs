//! What came of an effect, as a run sees it.

use serde::{Deserialize, Serialize};

use crate::EffectId;

/// An effect whose outcome this run takes in.
#[derive(Clone, Debug, PartialEq)]
pub struct SettledEffect<I, O> {
    /// The id that [`Context::start`](crate::Context::start) returned.
    pub id: EffectId,
    /// What it was asked for with.
    pub input: I,
    /// What came of it.
    pub outcome: Outcome<O>,
    /// How many times it was tried since the watcher last started; 0 when it was cancelled, or cut off by the end
    /// of an earlier life.
    pub attempts: u32,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<O> {
    /// Its function returned this.
    Done(O),
    /// Its function returned an error in every attempt. Whether something was done all the same is for that
    /// error to say.
    Failed {
        /// The text of the last error.
        error: String,
    },
    /// Nobody knows whether it was done: an attempt took too long, panicked, or was cut off by a crash or by
    /// [`Context::cancel`](crate::Context::cancel), and none succeeded. Or it was done, and its result cannot be
    /// kept: it is too long, or does not come back from its JSON. Ask the other side.
    Unknown {
        /// What is known.
        reason: String,
    },
    /// It was cancelled before it began.
    Cancelled,
}

impl<O> Outcome<O> {
    /// Returns what the function returned, or else what came of the effect as a sentence.
    ///
    /// # Errors
    /// The sentence.
    pub fn result(self) -> Result<O, String> {
        match self {
            Self::Done(output) => Ok(output),
            Self::Failed { error } => Err(error),
            Self::Unknown { reason } => Err(format!("nobody knows whether it was done: {reason}")),
            Self::Cancelled => Err("it was cancelled before it began".into()),
        }
    }
}
