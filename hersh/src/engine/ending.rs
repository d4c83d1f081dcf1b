//! States of a watcher as the outside sees them, and how it ends.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a watcher is doing, as the outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatcherState {
    /// The watcher has not started yet.
    NotRun,
    /// The managed function has not succeeded yet: its first run, or a retry of that run, is under
    /// way.
    InitRun,
    /// The watcher waits for a signal (or, after one or two failures, for the next light retry).
    Ready,
    /// The managed function runs.
    Running,
    /// Several runs failed in a row; the watcher waits before the next try.
    WaitRecover,
    /// The cleanup function runs.
    Stopping,
    /// The watcher ended because somebody asked.
    Stopped,
    /// The watcher ended at once because somebody asked.
    Killed,
    /// The watcher ended because it could not go on.
    Crashed,
}

impl WatcherState {
    /// All states, in the order of their discriminants.
    pub(crate) const ALL: [Self; 9] = [
        Self::NotRun,
        Self::InitRun,
        Self::Ready,
        Self::Running,
        Self::WaitRecover,
        Self::Stopping,
        Self::Stopped,
        Self::Killed,
        Self::Crashed,
    ];

    /// Returns the name that the WatcherAPI shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRun => "NotRun",
            Self::InitRun => "InitRun",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::WaitRecover => "WaitRecover",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Killed => "Killed",
            Self::Crashed => "Crashed",
        }
    }

    /// Returns true while messages are taken.
    #[must_use]
    pub fn is_running(self) -> bool {
        match self {
            Self::InitRun | Self::Ready | Self::Running | Self::WaitRecover => true,
            Self::NotRun | Self::Stopping | Self::Stopped | Self::Killed | Self::Crashed => false,
        }
    }
}

impl fmt::Display for WatcherState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a watcher ends, weakest first: a stronger wish replaces a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndKind {
    /// Somebody asked for the end; the run in progress may finish.
    Stopped,
    /// Somebody asked for the end; the run in progress is dropped.
    Killed,
    /// The watcher could not go on.
    Crashed,
}

impl EndKind {
    /// Returns the state that a watcher is in after this end.
    #[must_use]
    pub fn state(self) -> WatcherState {
        match self {
            Self::Stopped => WatcherState::Stopped,
            Self::Killed => WatcherState::Killed,
            Self::Crashed => WatcherState::Crashed,
        }
    }
}

/// How and why a watcher ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ending {
    /// The kind of the end.
    pub kind: EndKind,
    /// The reason of the end, in a sentence.
    pub reason: Arc<str>,
}

impl Ending {
    /// Returns an end of one kind with its reason.
    pub(crate) fn new(kind: EndKind, reason: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// Returns the stronger of two ends; of equally strong ones, the first.
    pub(crate) fn stronger(self, other: Self) -> Self {
        if other.kind > self.kind { other } else { self }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.state(), self.reason)
    }
}
