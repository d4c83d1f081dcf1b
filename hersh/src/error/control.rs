//! How a managed function steers its watcher.

use std::sync::Arc;

use crate::{EndKind, Ending};

/// An end that a managed function asks for, by returning it as its error.
///
/// The engine finds it however deep it is wrapped, as long as each wrapping error names it as its
/// source.
///
/// ```
/// use hersh::{Context, Control};
///
/// async fn managed(cx: &mut Context) -> hersh::Result {
///     if cx.message().as_deref() == Some("goodbye") {
///         return Err(Control::stop("somebody said goodbye").into());
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Control {
    /// Keep what this run changed, clean up, end as `Stopped`.
    #[error("stop: {0}")]
    Stop(Arc<str>),
    /// Keep what this run changed, clean up, end as `Killed`.
    #[error("kill: {0}")]
    Kill(Arc<str>),
    /// Discard what this run changed, clean up, end as `Crashed`.
    #[error("crash: {0}")]
    Crash(Arc<str>),
}

impl Control {
    /// Returns the control value that ends the watcher well.
    #[must_use]
    pub fn stop(reason: impl Into<Arc<str>>) -> Self {
        Self::Stop(reason.into())
    }

    /// Returns the control value that ends the watcher by intent, as one that should not be started
    /// again unasked.
    #[must_use]
    pub fn kill(reason: impl Into<Arc<str>>) -> Self {
        Self::Kill(reason.into())
    }

    /// Returns the control value that ends the watcher as one that cannot go on, without further
    /// tries.
    #[must_use]
    pub fn crash(reason: impl Into<Arc<str>>) -> Self {
        Self::Crash(reason.into())
    }

    /// Returns the end that is asked for.
    pub(crate) fn ending(&self) -> Ending {
        match self {
            Self::Stop(reason) => Ending::new(EndKind::Stopped, reason.clone()),
            Self::Kill(reason) => Ending::new(EndKind::Killed, reason.clone()),
            Self::Crash(reason) => Ending::new(EndKind::Crashed, reason.clone()),
        }
    }
}
