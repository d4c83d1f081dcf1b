//! What a watch hook gives to a run.

use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use crate::inbox::CurrentValue;

/// The value of a watched variable as this run sees it. Dereferences to the last good value.
#[derive(Clone, Debug)]
pub struct Watched<T> {
    value: Arc<T>,
    error: Option<Arc<str>>,
    updated_at: SystemTime,
    initial: bool,
    pub(crate) changed_in_run: u64,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Returns the variable's value, if it is of type `T`.
    pub(crate) fn read(current: &CurrentValue) -> Option<Self> {
        Some(Self {
            value: current.value.clone().downcast().ok()?,
            error: current.error.clone(),
            updated_at: current.updated_at,
            initial: current.initial,
            changed_in_run: current.changed_in_run,
        })
    }
}

impl<T> Watched<T> {
    /// Returns why the last update failed, if it did. The last good value stands beside the error.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Returns the value, or why the last update failed if it did: for a function that an old value
    /// does not help.
    ///
    /// # Errors
    /// The error of the source.
    pub fn result(&self) -> Result<&T, &str> {
        match self.error() {
            None => Ok(&self.value),
            Some(error) => Err(error),
        }
    }

    /// Returns when the value was last updated.
    #[must_use]
    pub fn updated_at(&self) -> SystemTime {
        self.updated_at
    }

    /// Returns true until the variable's source gives its first value.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.initial
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
