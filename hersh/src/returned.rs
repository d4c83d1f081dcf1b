//! How a managed function returned.

use std::sync::Arc;

use crate::{Ending, Error, HookError};

/// What a function returned, as data. Made where panics are caught: turning an error into text is
/// a user's code too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunReturn {
    /// `Ok`.
    Well,
    /// A control value, however deep.
    Steered(Ending),
    /// Another error.
    Failed {
        /// What it says.
        reason: Arc<str>,
        /// The hook error in it.
        hook: Option<HookError>,
    },
}

impl RunReturn {
    /// What `result` is.
    pub(crate) fn of<E: Into<Error>>(result: Result<(), E>) -> Self {
        let Err(error) = result else {
            return Self::Well;
        };
        let error: Error = error.into();
        match error.control() {
            Some(control) => Self::Steered(control.ending()),
            None => Self::Failed {
                reason: error.to_string().into(),
                hook: error.hook().cloned(),
            },
        }
    }

    /// What it is when the call panicked with this text.
    pub(crate) fn panicked(text: String) -> Self {
        Self::Failed {
            reason: text.into(),
            hook: None,
        }
    }
}
