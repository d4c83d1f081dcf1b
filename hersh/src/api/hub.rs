//! Tells what happens to all clients of the event stream.
//!
//! ```text
//! feed ──take──► hub ──encode once──► broadcast (bounded) ──► client ──► socket
//! (ring)         (one task, at most 100 batches a second)     client ──► socket
//! ```
//! Nothing here waits for a client: one that does not keep up loses its place and is told so.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::frames;
use crate::feed::Item;

/// Batches that a client may be behind.
const BEHIND_LIMIT: usize = 32;
/// Most bytes of a batch, for all clients together: a crowd of them gets shorter batches, and a
/// `gap` for the rest, so that telling never takes the whole processor.
const BATCH_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Bounds of a batch, bytes; it exceeds them by one event at most.
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
    /// A hub without clients.
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

    /// Clients that are connected.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Clients that did not keep up.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Events that were too many to be told.
    pub(super) fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Batches that were told.
    pub(super) fn batch_count(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// The last event, if the watcher is over. Whoever subscribed before this is `None` gets it.
    pub(super) fn end(&self) -> Option<Bytes> {
        self.end.get().cloned()
    }

    /// Tells a batch of items to all clients.
    pub(super) fn tell(&self, items: VecDeque<Item>, lost: u64) {
        let clients = self.clients().max(1);
        let (least, most) = BATCH_BYTES;
        let limit_bytes = (BATCH_LIMIT_BYTES / clients).clamp(least, most);
        let batch = frames::batch(items, lost, limit_bytes);
        self.lost.fetch_add(batch.lost, Ordering::Relaxed);
        if !batch.bytes.is_empty() {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.send(HubMessage::Batch(batch.bytes));
        }
    }

    pub(super) fn send(&self, told: HubMessage) {
        // Without clients there is nobody to tell.
        let _ = self.batches.send(told);
    }
}
