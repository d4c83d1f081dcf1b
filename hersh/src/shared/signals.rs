//! The signals that were consumed last, for people to look at.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::sync::{Mutex, locked};

/// How many consumed signals are kept.
pub(crate) const RECENT_LIMIT: usize = 30;

/// A signal, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) kind: SignalKind,
    /// The message, the name of the variable or timer, the effect with its id, or what the lifecycle signal says.
    pub(crate) content: Arc<str>,
    /// When a message came in, or when another signal was consumed, milliseconds since the Unix
    /// epoch.
    pub(crate) at_ms: u64,
}

/// The lane that a signal came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalKind {
    /// A watched variable changed.
    Var,
    /// A message.
    User,
    /// What came of an effect.
    Effect,
    /// A timer is due.
    Timer,
    /// A start, a retry, a wish to end.
    Watcher,
}

/// A ring of the last [`RECENT_LIMIT`] consumed signals.
#[derive(Debug)]
pub(crate) struct RecentSignals {
    ring: Mutex<VecDeque<Signal>>,
}

impl RecentSignals {
    /// Returns an empty ring.
    pub(crate) fn new() -> Self {
        Self {
            ring: Mutex::new(VecDeque::new()),
        }
    }

    /// Notes a consumed signal.
    pub(crate) fn add(&self, signal: Signal) {
        let mut ring = locked(&self.ring);
        if ring.len() == RECENT_LIMIT {
            ring.pop_front();
        }
        ring.push_back(signal);
    }

    /// Returns the noted signals, oldest first.
    #[cfg_attr(
        not(feature = "api"),
        allow(dead_code, reason = "only the API shows them")
    )]
    pub(crate) fn signals(&self) -> Vec<Signal> {
        locked(&self.ring).iter().cloned().collect()
    }
}
