//! The feed: tells live clients what happens. While no client follows, an item costs one look at a
//! counter.
//!
//! ```text
//! engine ──publish──► ring (bounded, oldest lost first) ──take──► whoever tells it on
//! ```
//! The engine leaves items and goes on: it never waits for the clients, and never goes through them
//! one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::logbook::LogLine;
use super::signals::Signal;
use crate::WatcherState;
use crate::base::sync::{AtomicUsize, Mutex, Ordering, locked};
use crate::inbox::Var;

/// Most items that wait to be told to the clients.
pub(crate) const FEED_LIMIT: usize = 4_096;

/// One thing that happened.
#[cfg_attr(
    not(feature = "api"),
    allow(dead_code, reason = "only the API tells them")
)]
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A signal was consumed.
    Signal(Signal),
    /// The watcher does something else now: its state changed.
    State {
        /// The new state.
        state: WatcherState,
        /// When the state changed, milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A variable changed; its value is read when the item is told.
    Value(Arc<Var>),
    /// A line was logged.
    Log(LogLine),
}

/// Items on their way to the clients that follow.
#[derive(Debug)]
pub(crate) struct Feed {
    subscribers: AtomicUsize,
    ring: Mutex<Ring>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    items: VecDeque<Item>,
    lost: u64,
}

impl Feed {
    /// Returns a feed that no client follows.
    pub(crate) fn new() -> Self {
        Self {
            subscribers: AtomicUsize::new(0),
            ring: Mutex::new(Ring::default()),
            news: Notify::new(),
        }
    }

    /// Leaves an item, if a client follows.
    pub(crate) fn publish(&self, item: impl FnOnce() -> Item) {
        if self.subscribers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut ring = locked(&self.ring);
        if ring.items.len() == FEED_LIMIT {
            ring.items.pop_front();
            ring.lost += 1;
        }
        ring.items.push_back(item());
        let is_first = ring.items.len() == 1;
        drop(ring);
        if is_first {
            self.news.notify_one();
        }
    }
}

/// The side of the clients.
#[cfg(feature = "api")]
impl Feed {
    /// Counts one more client that follows.
    pub(crate) fn join(&self) {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one client less.
    pub(crate) fn leave(&self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until there are items.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes out all items, oldest first, and returns them with the number of items lost before
    /// them.
    pub(crate) fn take(&self) -> (VecDeque<Item>, u64) {
        let mut ring = locked(&self.ring);
        (
            std::mem::take(&mut ring.items),
            std::mem::take(&mut ring.lost),
        )
    }
}

#[cfg(feature = "api")]
#[cfg(test)]
mod tests {
    use super::*;

    fn item(at_ms: u64) -> Item {
        let state = WatcherState::Ready;
        Item::State { state, at_ms }
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_a_bounded_number_for_the_slow() {
        let feed = Feed::new();
        feed.publish(|| unreachable!("nobody watches"));
        feed.join();
        for at_ms in 0..FEED_LIMIT as u64 + 5 {
            feed.publish(|| item(at_ms));
        }
        let (items, lost) = feed.take();
        assert_eq!((items.len(), lost), (FEED_LIMIT, 5));
        assert!(matches!(items[0], Item::State { at_ms: 5, .. }));
        assert_eq!(feed.take().1, 0);
        feed.leave();
        feed.publish(|| unreachable!("nobody watches any more"));
    }
}
