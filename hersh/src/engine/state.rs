//! What the engine knows.

use std::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{Ending, Recovery, WatcherState};

/// The times that a watcher gives its operations, and when it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// The longest run, milliseconds.
    pub(crate) run_timeout_ms: u64,
    /// The longest save of the durable context, milliseconds.
    pub(crate) save_timeout_ms: u64,
    /// The longest cleanup, milliseconds.
    pub(crate) cleanup_timeout_ms: u64,
    /// What a run in progress is given once a stop is asked, milliseconds.
    pub(crate) stop_grace_ms: u64,
    /// What failures lead to.
    pub(crate) recovery: Recovery,
}

/// The whole of what the engine knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct State {
    /// What it is doing.
    pub(crate) phase: Phase,
    /// How long things may take.
    pub(crate) policy: Policy,
    /// Failed runs in a row.
    pub(crate) failures: u32,
    /// True once a run has succeeded: hooks are set up.
    pub(crate) initialised: bool,
    /// Messages that arrived and have not had their run.
    pub(crate) waiting: u64,
    /// True when a variable changed since the last run began.
    pub(crate) changed: bool,
}

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Not started.
    NotRun,
    /// The managed function runs.
    Running {
        /// The run.
        op: OpId,
        /// What for.
        kind: RunKind,
        /// When it is ended by force, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// The end that was asked for meanwhile.
        asked: Option<Ending>,
    },
    /// What a run changed is being made durable.
    Saving {
        /// The save.
        op: OpId,
        /// When the store is given up, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// What follows.
        then: Then,
    },
    /// Nothing to do.
    Ready,
    /// Waiting before the next try.
    Delay {
        /// When it is, milliseconds since the Unix epoch.
        due_ms: u64,
        /// True in `WaitRecover`, false for a light retry.
        heavy: bool,
    },
    /// The cleanup function runs.
    Cleaning {
        /// The cleanup.
        op: OpId,
        /// When it is ended by force, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// The end that follows.
        ending: Ending,
    },
    /// Over.
    Ended {
        /// How.
        ending: Ending,
    },
}

/// What follows a save.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The run has succeeded: carry on.
    Continue,
    /// Clean up, then end.
    Clean(Ending),
    /// End: the cleanup is done.
    End(Ending),
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum RunKind {
    /// The first run.
    Init,
    /// A message or a variable woke it.
    Signal,
    /// Another try after a failure; carries no message.
    Recover,
}

impl State {
    /// A watcher that has not started.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            phase: Phase::NotRun,
            policy,
            failures: 0,
            initialised: false,
            waiting: 0,
            changed: false,
        }
    }

    /// What the outside sees of it.
    pub(crate) fn public(&self) -> WatcherState {
        match &self.phase {
            Phase::NotRun => WatcherState::NotRun,
            Phase::Running { .. }
            | Phase::Saving {
                then: Then::Continue,
                ..
            } if self.initialised => WatcherState::Running,
            Phase::Delay { heavy: true, .. } => WatcherState::WaitRecover,
            Phase::Delay { heavy: false, .. } if self.initialised => WatcherState::Ready,
            Phase::Running { .. }
            | Phase::Delay { heavy: false, .. }
            | Phase::Saving {
                then: Then::Continue,
                ..
            } => WatcherState::InitRun,
            Phase::Ready => WatcherState::Ready,
            Phase::Cleaning { .. }
            | Phase::Saving {
                then: Then::Clean(_) | Then::End(_),
                ..
            } => WatcherState::Stopping,
            Phase::Ended { ending } => ending.kind.state(),
        }
    }
}

/// A reason, shared because it travels from state to log to the one who waits.
pub(crate) type Reason = Arc<str>;
