//! The state of the engine.

use std::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{Ending, Recovery, WatcherState};

/// The time limits of a watcher's operations, and when the watcher gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// The longest run, milliseconds.
    pub(crate) run_timeout_ms: u64,
    /// The longest save of the durable context, milliseconds.
    pub(crate) save_timeout_ms: u64,
    /// The longest cleanup, milliseconds.
    pub(crate) cleanup_timeout_ms: u64,
    /// The time that a run in progress gets once a stop is asked for, milliseconds.
    pub(crate) stop_grace_ms: u64,
    /// What failures lead to.
    pub(crate) recovery: Recovery,
}

/// The whole state of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct State {
    /// What the engine is doing.
    pub(crate) phase: Phase,
    /// The time limits of its operations.
    pub(crate) policy: Policy,
    /// Number of failed runs in a row.
    pub(crate) failures: u32,
    /// True once a run has succeeded, which means that the hooks are set up.
    pub(crate) initialised: bool,
    /// Number of messages that arrived and have not had their run.
    pub(crate) waiting: u64,
    /// Number of settled effects whose settlement no run has taken in. That of the run in progress counts
    /// until the run is committed.
    pub(crate) settled: u64,
    /// True when a variable changed since the last run began.
    pub(crate) changed: bool,
    /// True when the run whose changes are being saved asked for another run.
    pub(crate) again: bool,
    /// What the last run carried, if it is not committed.
    pub(crate) carried: CarriedSignal,
    /// True when the last signal that a run carried was a settlement.
    pub(crate) settlement_was_last: bool,
}

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The watcher has not started.
    NotRun,
    /// The managed function runs.
    Running {
        /// The run.
        op: OpId,
        /// What the run is for.
        kind: RunKind,
        /// When the run is ended by force, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// The end that was asked for during the run, if one was.
        asked: Option<Ending>,
    },
    /// Changes of the durable context are being saved.
    Saving {
        /// The save.
        op: OpId,
        /// When the save is given up, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// What follows the save.
        then: AfterSave,
    },
    /// There is nothing to do.
    Ready,
    /// The engine waits before the next try.
    Delay {
        /// When the next try is due, milliseconds since the Unix epoch.
        due_ms: u64,
        /// True when the watcher is in `WaitRecover`, false before a light retry.
        heavy: bool,
    },
    /// The cleanup function runs.
    Cleaning {
        /// The cleanup.
        op: OpId,
        /// When the cleanup is ended by force, milliseconds since the Unix epoch.
        deadline_ms: u64,
        /// The end that follows the cleanup.
        ending: Ending,
    },
    /// The watcher is over.
    Ended {
        /// How the watcher ended.
        ending: Ending,
    },
}

/// What follows a save.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum AfterSave {
    /// The run has succeeded: carry on.
    Continue,
    /// Clean up, then end.
    Clean(Ending),
    /// End: the cleanup is done.
    End(Ending),
}

/// The signal that a run carries, beside the changed variables that every run takes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum CarriedSignal {
    /// None.
    #[default]
    Nothing,
    /// The oldest message that waits.
    Message,
    /// What came of the effect that was settled first.
    Settlement,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum RunKind {
    /// The first run.
    Init,
    /// A message, a settled effect or a variable woke it.
    Signal,
    /// Another try after a failure. It carries the signal of the failed run again.
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
            settled: 0,
            changed: false,
            again: false,
            carried: CarriedSignal::Nothing,
            settlement_was_last: false,
        }
    }

    /// Returns the state that the outside sees.
    pub(crate) fn public(&self) -> WatcherState {
        match &self.phase {
            Phase::NotRun => WatcherState::NotRun,
            Phase::Running { .. }
            | Phase::Saving {
                then: AfterSave::Continue,
                ..
            } if self.initialised => WatcherState::Running,
            Phase::Delay { heavy: true, .. } => WatcherState::WaitRecover,
            Phase::Delay { heavy: false, .. } if self.initialised => WatcherState::Ready,
            Phase::Running { .. }
            | Phase::Delay { heavy: false, .. }
            | Phase::Saving {
                then: AfterSave::Continue,
                ..
            } => WatcherState::InitRun,
            Phase::Ready => WatcherState::Ready,
            Phase::Cleaning { .. }
            | Phase::Saving {
                then: AfterSave::Clean(_) | AfterSave::End(_),
                ..
            } => WatcherState::Stopping,
            Phase::Ended { ending } => ending.kind.state(),
        }
    }
}

/// A reason, shared because it travels from the state to the log and to those who wait for the end.
pub(crate) type Reason = Arc<str>;
