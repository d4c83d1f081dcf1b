//! Tells what happens to all clients of the event stream.
//!
//! ```text
//! feed ──take──► hub ──encode once──► broadcast (bounded) ──► client ──► socket
//! (ring)         (one task, at most 100 batches a second)     client ──► socket
//! ```
//! Nothing here waits for a client: a client that does not keep up is dropped and told so.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::frames;
use crate::shared::Item;

/// Batches by which a client may be behind.
const BEHIND_LIMIT: usize = 32;
/// Most bytes of a batch, for all clients together: a crowd of clients gets shorter batches, and a
/// `gap` for the rest, so that sending to them never takes the whole processor.
const BATCH_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Bounds of a batch's length, bytes; a batch exceeds them by one event at most.
const BATCH_BYTES: (usize, usize) = (16 * 1024, 1024 * 1024);

/// The way to all clients.
pub(super) struct Hub {
    pub(super) batches: broadcast::Sender<HubMessage>,
    /// The last event, once the watcher is over.
    pub(super) end: OnceLock<Bytes>,
    pub(super) clients: AtomicUsize,
    pub(super) dropped: AtomicU64,
    lost: AtomicU64,
    told: AtomicU64,
}

/// What a client gets.
#[derive(Clone, Debug)]
pub(super) enum HubMessage {
    /// Events, or a comment.
    Batch(Bytes),
    /// The last event.
    End(Bytes),
}

impl Hub {
    /// Returns a hub without clients.
    pub(super) fn new() -> Self {
        Self {
            batches: broadcast::Sender::new(BEHIND_LIMIT),
            end: OnceLock::new(),
            clients: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// Returns the number of clients that are connected.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Returns the number of clients that did not keep up.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of events that were left out because there were too many.
    pub(super) fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns the number of batches that were sent.
    pub(super) fn batch_count(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Returns the last event, if the watcher is over. A client that subscribed before this
    /// returned `None` gets the event through its subscription.
    pub(super) fn end(&self) -> Option<Bytes> {
        self.end.get().cloned()
    }

    /// Tells a batch of items to all clients.
    pub(super) fn tell(&self, items: VecDeque<Item>, lost: u64) {
        let clients = self.clients().max(1);
        let (least, most) = BATCH_BYTES;
        let limit_bytes = (BATCH_LIMIT_BYTES / clients).clamp(least, most);
        let batch = frames::encode_batch(items, lost, limit_bytes);
        self.lost.fetch_add(batch.lost, Ordering::Relaxed);
        if !batch.bytes.is_empty() {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.send(HubMessage::Batch(batch.bytes));
        }
    }

    pub(super) fn send(&self, told: HubMessage) {
        // An error says that there is no client: nobody is left to tell.
        let _ = self.batches.send(told);
    }
}
