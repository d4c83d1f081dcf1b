//! The heartbeat: what the engine's thread leaves of its turns, so that another thread can tell
//! whether it goes on.
//!
//! ```text
//! a step, before each run ───────────────► busy since now
//! a poll of a run that awaits, of a source ► busy since now ─► as before
//! nothing to do before a moment ─────────► idle until then
//! ```
//! The thread leaves times, and whoever asks compares them with the clock. A counter of turns would
//! do with less, but not for a reader that asks once an hour: it can't tell a thread that has been
//! idle since its last look from one that blocks. A watchdog would have to wake up beside an idle
//! watcher. The price of a time is one store for each run: every step has read the clock already.

use std::sync::atomic::{AtomicU64, Ordering};

/// Stands for no time.
const NONE: u64 = u64::MAX;

/// What the engine's thread leaves of its turns. Only that thread writes, so nothing comes between
/// a load and a store of it. Times are engine time, milliseconds since the Unix epoch.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// Since when the thread does what it does now, doubled, plus 1 for the poll of a source;
    /// `NONE` while it waits.
    busy: AtomicU64,
    /// When the engine wakes by itself, as it was when it last began to wait.
    due_ms: AtomicU64,
    /// When a run began that has awaited something since.
    run_since_ms: AtomicU64,
    /// When a save of the durable context began that is under way.
    saving_since_ms: AtomicU64,
    run_timeout_ms: AtomicU64,
}

/// Who the engine's thread is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The loop around the engine: a run, a cleanup, a line of the log, a write.
    Loop,
    /// A source of a watched variable, or the function of an effect.
    Source,
}

/// The heartbeat at one moment.
#[cfg(feature = "api")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Since when the thread does what it does now, and for whom; `None` while it waits.
    pub(crate) busy: Option<(u64, Holder)>,
    /// When the engine wakes by itself, if it waits and does.
    pub(crate) due_ms: Option<u64>,
    /// When a run began that has awaited something since.
    pub(crate) run_since_ms: Option<u64>,
    /// When the save of the durable context that is under way began.
    pub(crate) saving_since_ms: Option<u64>,
    /// The longest run.
    pub(crate) run_timeout_ms: u64,
}

/// A poll of a user's code. When this value is dropped, the heartbeat is as it was before.
#[must_use = "the poll counts as over when this value is dropped"]
pub(crate) struct PollGuard<'a> {
    heartbeat: &'a Heartbeat,
    before: Option<u64>,
}

impl Heartbeat {
    /// Returns the heartbeat of a thread that has not begun.
    pub(crate) fn new() -> Self {
        Self {
            busy: AtomicU64::new(NONE),
            due_ms: AtomicU64::new(NONE),
            run_since_ms: AtomicU64::new(NONE),
            saving_since_ms: AtomicU64::new(NONE),
            run_timeout_ms: AtomicU64::new(NONE),
        }
    }

    /// Shows the longest time that a run may take.
    pub(crate) fn set_run_timeout(&self, timeout_ms: u64) {
        self.run_timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// Shows that the loop takes a turn. This is all that a run costs which does not await.
    pub(crate) fn begin_turn(&self, now_ms: u64) {
        self.busy
            .store(busy(now_ms, Holder::Loop), Ordering::Relaxed);
    }

    /// Shows that the loop waits for arrivals, until `due_ms` at most.
    pub(crate) fn begin_wait(&self, due_ms: Option<u64>) {
        self.due_ms.store(due_ms.unwrap_or(NONE), Ordering::Relaxed);
        // A reader that sees the thread wait sees until when.
        self.busy.store(NONE, Ordering::Release);
    }

    /// Shows that a user's code is polled from now on, until the value is dropped.
    pub(crate) fn begin_poll(&self, now_ms: u64, holder: Holder) -> PollGuard<'_> {
        let before = self.busy.load(Ordering::Relaxed);
        self.busy.store(busy(now_ms, holder), Ordering::Relaxed);
        PollGuard {
            heartbeat: self,
            before: Some(before),
        }
    }

    /// Shows that a run which began at `since_ms` awaits something, or that it has ended.
    pub(crate) fn set_awaiting_run(&self, since_ms: Option<u64>) {
        self.run_since_ms
            .store(since_ms.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Shows that a save of the durable context is under way since `since_ms`, or that it has
    /// ended.
    pub(crate) fn set_saving(&self, since_ms: Option<u64>) {
        self.saving_since_ms
            .store(since_ms.unwrap_or(NONE), Ordering::Relaxed);
    }
}

/// The side of those who ask.
#[cfg(feature = "api")]
impl Heartbeat {
    /// Returns the heartbeat at this moment.
    pub(crate) fn read(&self) -> Beat {
        let some = |ms: u64| (ms != NONE).then_some(ms);
        let busy = some(self.busy.load(Ordering::Acquire)).map(|busy| match busy & 1 {
            0 => (busy >> 1, Holder::Loop),
            _ => (busy >> 1, Holder::Source),
        });
        let due_ms = some(self.due_ms.load(Ordering::Relaxed));
        Beat {
            busy,
            // What was due before the present turn is of no concern any more.
            due_ms: due_ms.filter(|_| busy.is_none()),
            run_since_ms: some(self.run_since_ms.load(Ordering::Relaxed)),
            saving_since_ms: some(self.saving_since_ms.load(Ordering::Relaxed)),
            run_timeout_ms: self.run_timeout_ms.load(Ordering::Relaxed),
        }
    }
}

impl PollGuard<'_> {
    /// Leaves the heartbeat as it is: the thread goes on with what the poll gave, until its next
    /// turn.
    pub(crate) fn keep(mut self) {
        self.before = None;
    }
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.heartbeat.busy.store(before, Ordering::Release);
        }
    }
}

fn busy(since_ms: u64, holder: Holder) -> u64 {
    (since_ms << 1) | u64::from(holder == Holder::Source)
}
