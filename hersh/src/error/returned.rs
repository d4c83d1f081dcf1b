//! How a managed function returned.

use std::sync::Arc;

use crate::{Ending, Error, HookError};

/// What a function returned, as data. It is made where panics are caught, because turning an error
/// into text runs a user's code too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunReturn {
    /// The function returned `Ok`.
    Well,
    /// The function returned a control value, however deep.
    Steered(Ending),
    /// The function returned another error.
    Failed {
        /// The text of the error.
        reason: Arc<str>,
        /// The hook error in that error, if there is one.
        hook: Option<HookError>,
    },
}

impl RunReturn {
    /// Returns `result` as data.
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

    /// Returns the data of a call that panicked with this text.
    pub(crate) fn panicked(text: String) -> Self {
        Self::Failed {
            reason: text.into(),
            hook: None,
        }
    }
}
