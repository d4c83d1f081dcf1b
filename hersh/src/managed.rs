//! Managed functions behind a common face, and what their panics say.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use crate::{Context, Ending, Error, HookError};

/// What a function returned, as data. Made where panics are caught: turning an error into text is
/// a user's code too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
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

impl Returned {
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

/// A function over the context whose type is forgotten. Used where one allocation per call is no
/// matter.
pub(crate) struct CleanupFn(Box<dyn Call + Send>);

type Called<'a> = Pin<Box<dyn Future<Output = Returned> + 'a>>;

trait Call {
    fn call<'a>(&'a mut self, cx: &'a mut Context) -> Called<'a>;
}

impl<F, E> Call for F
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    fn call<'a>(&'a mut self, cx: &'a mut Context) -> Called<'a> {
        Box::pin(async move { Returned::of(self(cx).await) })
    }
}

impl CleanupFn {
    /// Forgets the type of `function`.
    pub(crate) fn new<F, E>(function: F) -> Self
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        Self(Box::new(function))
    }

    /// Calls it.
    pub(crate) fn call<'a>(&'a mut self, cx: &'a mut Context) -> Called<'a> {
        self.0.call(cx)
    }
}

/// Drops what is a user's. A panic of its destructor concerns nobody: what it belonged to is over.
pub(crate) fn discard<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

/// What a panic says of itself.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    match text {
        Some(text) => format!("panicked: {text}"),
        None => "panicked".into(),
    }
}
