//! Signals that a test makes up.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{Run, Test};
use crate::base::clock::epoch_ns;
use crate::engine::RunKind;
use crate::journal::{RecordedUpdate, RecordedValue};
use crate::{Context, Error};

/// Signals that one run takes in together.
#[must_use = "signals are taken in by `run`"]
pub struct Signals<'a, F> {
    test: &'a mut Test<F>,
    message: Option<Arc<str>>,
    updates: Vec<RecordedUpdate>,
}

impl<'a, F, E> Signals<'a, F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    /// Returns an empty set of signals.
    pub(super) fn none(test: &'a mut Test<F>) -> Self {
        Self {
            test,
            message: None,
            updates: Vec::new(),
        }
    }

    /// Adds a message; the last one counts, because a run has one at most.
    pub fn message(mut self, content: impl Into<Arc<str>>) -> Self {
        self.message = Some(content.into());
        self
    }

    /// Adds a new value of a variable.
    ///
    /// # Panics
    /// When the value cannot be written as JSON.
    pub fn change<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        let now = self.test.now;
        self.updates.push(update(name, Ok(json(name, value)), now));
        self
    }

    /// Adds an error of a variable's source.
    pub fn fail(mut self, name: &str, error: &str) -> Self {
        let now = self.test.now;
        self.updates.push(update(name, Err(error), now));
        self
    }

    /// Makes the run with these signals.
    pub fn run(self) -> Run {
        self.test.run(RunKind::Signal, self.message, self.updates)
    }
}

pub(super) fn update(name: &str, value: Result<String, &str>, at: SystemTime) -> RecordedUpdate {
    let (value, error) = match value {
        Ok(json) => (RecordedValue::Json(json), None),
        Err(error) => (RecordedValue::None, Some(error.into())),
    };
    RecordedUpdate {
        name: name.into(),
        value,
        error,
        at_ns: epoch_ns(at),
    }
}

pub(super) fn json<T: Serialize + ?Sized>(name: &str, value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => panic!("the value of {name:?} cannot be written as JSON: {error}"),
    }
}
