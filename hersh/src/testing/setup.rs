//! What a function under test finds when it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::signals::json;

/// What a function under test finds when it begins.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub(super) env: BTreeMap<String, String>,
    pub(super) context: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) seed: u64,
}

impl Setup {
    /// Returns a setup with nothing in it: no environment, an empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Sets a value of the durable context.
    ///
    /// # Panics
    /// When the value cannot be written as JSON.
    #[must_use]
    pub fn context<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Self {
        self.context.insert(key.into(), json(key, value).into());
        self
    }

    /// Sets the seed of the random numbers. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}
