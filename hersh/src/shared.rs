//! What the engine shows to handles and to the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::feed::{Feed, Item};
use crate::inbox::Inbox;
use crate::journal::JournalState;
use crate::logbook::{Level, LogKind, Logbook};
use crate::memo::Memos;
use crate::signals::{Recent, Signal};
use crate::store::Committed;
use crate::sync::{Mutex, locked};
use crate::var::Var;
use crate::{Ending, WatcherState};

/// How far a watcher has come: what waiters wait for. Changes a few times in its life, not per
/// run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// No run has succeeded yet.
    Starting,
    /// The first run succeeded.
    Up,
    /// It is over and all it held is released, but for its API.
    Ended(Ending),
}

/// The parts of a watcher that more than its engine's thread uses.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    pub(crate) log: Logbook,
    pub(crate) committed: Arc<Committed>,
    pub(crate) recent: Recent,
    pub(crate) feed: Feed,
    pub(crate) memos: Memos,
    /// Its journal, if it records.
    pub(crate) journal: Option<Arc<Mutex<JournalState>>>,
    pub(crate) milestone: watch::Sender<Milestone>,
    variables: Mutex<BTreeMap<Arc<str>, Arc<Var>>>,
    state: AtomicU8,
    last_update_ms: AtomicU64,
    runs: AtomicU64,
    failures: AtomicU64,
}

/// A look at a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: WatcherState,
    /// Its name.
    pub watcher_id: Arc<str>,
    /// Since its start.
    pub uptime: Duration,
    /// When its state last changed.
    pub last_update: SystemTime,
    /// Runs that have begun.
    pub runs: u64,
    /// Failed runs in a row.
    pub consecutive_failures: u64,
    /// Messages that wait for their run.
    pub waiting_messages: usize,
}

impl Shared {
    /// A watcher that has not started.
    pub(crate) fn new(id: Arc<str>, clock: Clock, inbox: Inbox, log: Logbook) -> Self {
        Self {
            id,
            clock,
            inbox,
            log,
            committed: Arc::new(Committed::new()),
            recent: Recent::new(),
            feed: Feed::new(),
            memos: Memos::new(),
            journal: None,
            milestone: watch::Sender::new(Milestone::Starting),
            variables: Mutex::new(BTreeMap::new()),
            state: AtomicU8::new(WatcherState::NotRun as u8),
            last_update_ms: AtomicU64::new(clock.now_ms()),
            runs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Shows the engine's state.
    pub(crate) fn publish(&self, state: WatcherState, failures: u32, now_ms: u64) {
        // Only the engine writes: no need for a costly exchange.
        if self.state.load(Ordering::Relaxed) != state as u8 {
            self.state.store(state as u8, Ordering::Release);
            self.last_update_ms.store(now_ms, Ordering::Relaxed);
            let at_ms = now_ms;
            self.feed.publish(|| Item::State { state, at_ms });
        }
        self.failures.store(u64::from(failures), Ordering::Relaxed);
    }

    /// Shows that a run begins.
    pub(crate) fn publish_run(&self, run: u64) {
        self.runs.store(run, Ordering::Relaxed);
    }

    /// What the watcher is doing.
    pub(crate) fn state(&self) -> WatcherState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        WatcherState::ALL
            .get(index)
            .copied()
            .unwrap_or(WatcherState::Crashed)
    }

    /// A look at everything.
    pub(crate) fn status(&self) -> Status {
        let last_update = Duration::from_millis(self.last_update_ms.load(Ordering::Relaxed));
        Status {
            state: self.state(),
            watcher_id: self.id.clone(),
            uptime: self.clock.uptime(),
            last_update: UNIX_EPOCH + last_update,
            runs: self.runs.load(Ordering::Relaxed),
            consecutive_failures: self.failures.load(Ordering::Relaxed),
            waiting_messages: self.inbox.waiting(),
        }
    }

    /// Writes a line into the log, at this moment.
    pub(crate) fn note(&self, level: Level, kind: LogKind, run: u64, message: &str) {
        let line = self.log.write(self.clock.wall(), level, kind, run, message);
        self.feed.publish(|| Item::Log(line));
    }

    /// Notes a consumed signal.
    pub(crate) fn consumed(&self, signal: Signal) {
        self.feed.publish(|| Item::Signal(signal.clone()));
        self.recent.add(signal);
    }

    /// Waits until it is over.
    #[cfg(feature = "api")]
    pub(crate) async fn ended(&self) -> Ending {
        let mut receiver = self.milestone.subscribe();
        loop {
            if let Milestone::Ended(ending) = &*receiver.borrow_and_update() {
                return ending.clone();
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Shows a variable.
    pub(crate) fn add_variable(&self, var: Arc<Var>) {
        locked(&self.variables).insert(var.name.clone(), var);
    }

    /// The registered variables, by name.
    pub(crate) fn variables(&self) -> Vec<Arc<Var>> {
        locked(&self.variables).values().cloned().collect()
    }
}
