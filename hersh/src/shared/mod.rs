//! What the engine shows to handles and to the API.
//!
//! ```text
//! sources, runs ──► state, counts, log, signals, memos, journal's state ──look──► handles, API
//!              ├──► heartbeat ──judged──► health ──► API
//!              └──► feed (bounded) ──live──► API
//! handles, API ──► inbox
//! ```

mod feed;
#[cfg(feature = "api")]
mod health;
mod heartbeat;
mod logbook;
mod memos;
mod post;
mod sender;
mod signals;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};

use crate::base::clock::Clock;
use crate::base::sync::{Mutex, OwnLines, locked};
use crate::inbox::{Inbox, Var};
use crate::journal::JournalState;
use crate::store::{
    CommittedValues, FolderContents, Keeper, LastEnd, Ledger, Memory, PostOffice, StateDir,
};
use crate::{Ending, WatcherState};

use feed::Feed;
pub(crate) use feed::Item;
#[cfg(feature = "api")]
pub(crate) use health::{Health, Stall};
pub(crate) use heartbeat::Holder;
use heartbeat::{Heartbeat, PollGuard};
pub use logbook::{LOG_LINE_LIMIT, LOG_MESSAGE_LIMIT_BYTES, Level, LogKind, LogLine};
pub(crate) use logbook::{Logbook, RunResult};
pub(crate) use memos::{MemoInfo, Memos};
use post::Readers;
pub use post::{Message, Receipt};
pub use sender::Sender;
#[cfg(feature = "api")]
pub(crate) use signals::RECENT_LIMIT;
use signals::RecentSignals;
pub(crate) use signals::{Signal, SignalKind};

/// How far a watcher has come. Waiters wait for a milestone; it changes a few times in a watcher's
/// life, not in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// No run has succeeded yet.
    Starting,
    /// The first run succeeded.
    Up,
    /// The watcher is over and has released all it held, except for its API.
    Ended(Ending),
}

/// The parts of a watcher that its engine's thread and other threads use.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) log: Logbook,
    pub(crate) committed: Arc<CommittedValues>,
    /// The open effects, as they are committed.
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// The messages that are kept, waited for, or set aside.
    pub(crate) post_office: Arc<PostOffice>,
    /// Commits what changes in the three above. Senders look at it and at the readers, and the engine writes beside
    /// them all the time.
    pub(crate) keeper: OwnLines<Keeper>,
    pub(crate) readers: OwnLines<Readers>,
    pub(crate) recent: RecentSignals,
    pub(crate) feed: Feed,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) memos: Memos,
    /// The state of the journal, if runs are recorded.
    pub(crate) journal: Option<Arc<Mutex<JournalState>>>,
    pub(crate) milestone: watch::Sender<Milestone>,
    variables: Mutex<BTreeMap<Arc<str>, Arc<Var>>>,
    state: AtomicU8,
    last_update_ms: AtomicU64,
    runs: AtomicU64,
    failures: AtomicU64,
}

/// The status of a watcher at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state of the watcher.
    pub state: WatcherState,
    /// The name of the watcher.
    pub watcher_id: Arc<str>,
    /// The time since the watcher's start.
    pub uptime: Duration,
    /// When the state last changed.
    pub last_update: SystemTime,
    /// The number of runs that have begun.
    pub runs: u64,
    /// The number of failed runs in a row.
    pub consecutive_failures: u64,
    /// The number of messages that wait for their run.
    pub waiting_messages: usize,
}

impl Shared {
    /// Returns the shared parts of a watcher that has not started and keeps nothing.
    #[cfg(test)]
    pub(crate) fn new(id: Arc<str>, clock: Clock, inbox: Inbox, log: Logbook) -> Self {
        Self::keeping(id, clock, inbox, log, (None, FolderContents::nothing(0)))
    }

    /// Returns the shared parts of a watcher that has not started, with what it keeps: in a folder, if there is
    /// one.
    pub(crate) fn keeping(
        id: Arc<str>,
        clock: Clock,
        inbox: Inbox,
        log: Logbook,
        (folder, kept): (Option<StateDir>, FolderContents),
    ) -> Self {
        let inbox = Arc::new(inbox);
        let last_end = folder.as_ref().map_or(LastEnd::Well, StateDir::last_end);
        let memory = Memory {
            values: Arc::new(CommittedValues::new(kept.values)),
            ledger: Arc::new(Mutex::new(kept.ledger)),
            post_office: Arc::new(PostOffice::new(inbox.clone(), clock, kept.mail, last_end)),
        };
        Self {
            id,
            clock,
            inbox,
            log,
            committed: memory.values.clone(),
            ledger: memory.ledger.clone(),
            post_office: memory.post_office.clone(),
            keeper: OwnLines(Keeper::new(memory, folder, clock.is_virtual())),
            readers: OwnLines::default(),
            recent: RecentSignals::new(),
            feed: Feed::new(),
            heartbeat: Heartbeat::new(),
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

    /// Returns whether a run's commit says what came of its message.
    pub(crate) fn keeps_mail(&self) -> bool {
        self.keeper.is_durable() || self.post_office.is_watched()
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

    /// Shows that a user's code is polled from now on, until the value is dropped. Reads the clock:
    /// for polls that something woke, which cost much more.
    pub(crate) fn begin_poll(&self, holder: Holder) -> PollGuard<'_> {
        self.heartbeat.begin_poll(self.clock.now_ms(), holder)
    }

    /// Starts a task on the engine's thread whose polls the heartbeat shows: they are a user's code, which may
    /// block.
    pub(crate) fn spawn_shown(
        self: &Arc<Self>,
        work: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        let shared = self.clone();
        let task = spawn_local(async move {
            let mut work = pin!(work);
            let shown = poll_fn(|cx| {
                let _held = shared.begin_poll(Holder::Source);
                work.as_mut().poll(cx)
            });
            shown.await;
        });
        task.abort_handle()
    }

    /// Returns what the watcher is doing.
    pub(crate) fn state(&self) -> WatcherState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        WatcherState::ALL
            .get(index)
            .copied()
            .unwrap_or(WatcherState::Crashed)
    }

    /// Returns the status at this moment.
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

    /// Waits until the watcher is over.
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

    /// Shows a variable no longer.
    pub(crate) fn remove_variable(&self, name: &str) {
        locked(&self.variables).remove(name);
    }

    /// Returns the registered variables, by name.
    pub(crate) fn variables(&self) -> Vec<Arc<Var>> {
        locked(&self.variables).values().cloned().collect()
    }
}
