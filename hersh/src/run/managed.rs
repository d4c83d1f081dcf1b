//! Managed functions with their types erased.

use std::future::Future;
use std::pin::Pin;

use crate::error::RunReturn;
use crate::{Context, Error};

/// A function over the context whose type is erased. Used where one allocation per call does not
/// matter.
pub(crate) struct CleanupFn(Box<dyn Call + Send>);

type CallFuture<'a> = Pin<Box<dyn Future<Output = RunReturn> + 'a>>;

trait Call {
    fn call<'a>(&'a mut self, cx: &'a mut Context) -> CallFuture<'a>;
}

impl<F, E> Call for F
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    fn call<'a>(&'a mut self, cx: &'a mut Context) -> CallFuture<'a> {
        Box::pin(async move { RunReturn::of(self(cx).await) })
    }
}

impl CleanupFn {
    /// Erases the type of `function`.
    pub(crate) fn new<F, E>(function: F) -> Self
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        Self(Box::new(function))
    }

    /// Calls the function.
    pub(crate) fn call<'a>(&'a mut self, cx: &'a mut Context) -> CallFuture<'a> {
        self.0.call(cx)
    }
}
