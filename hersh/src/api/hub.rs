//! Tells what happens to all clients of the event stream.
//!
//! ```text
//! feed ──take──► hub ──encode once──► broadcast (bounded) ──► client ──► socket
//! (ring)         (one task, at most 100 batches a second)     client ──► socket
//! ```
//! Nothing here waits for a client: one that does not keep up loses its place and is told so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::frames;
use super::routes::Api;
use crate::feed::Item;

/// How long items gather before they are told.
const GATHER: Duration = Duration::from_millis(10);
/// Batches that a client may be behind.
const BEHIND_LIMIT: usize = 32;
/// After how much silence a comment shows that the stream is alive.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Most bytes of a batch, for all clients together: a crowd of them gets shorter batches, and a
/// `gap` for the rest, so that telling never takes the whole processor.
const BATCH_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Bounds of a batch, bytes; it exceeds them by one event at most.
const BATCH_BYTES: (usize, usize) = (16 * 1024, 1024 * 1024);

/// The way to all clients.
pub(super) struct Hub {
    batches: broadcast::Sender<Told>,
    /// The last event, once the watcher is over.
    end: OnceLock<Bytes>,
    clients: AtomicUsize,
    dropped: AtomicU64,
    lost: AtomicU64,
    told: AtomicU64,
}

/// What a client gets.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// Events, or a comment.
    Batch(Bytes),
    /// The last event.
    End(Bytes),
}

/// A client that is counted, and for whom the engine leaves items, until this is dropped.
pub(super) struct Client {
    api: Arc<Api>,
    pub(super) batches: broadcast::Receiver<Told>,
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

    fn tell(&self, items: VecDeque<Item>, lost: u64) {
        let clients = self.clients().max(1);
        let (least, most) = BATCH_BYTES;
        let limit_bytes = (BATCH_LIMIT_BYTES / clients).clamp(least, most);
        let batch = frames::batch(items, lost, limit_bytes);
        self.lost.fetch_add(batch.lost, Ordering::Relaxed);
        if !batch.bytes.is_empty() {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.send(Told::Batch(batch.bytes));
        }
    }

    fn send(&self, told: Told) {
        // Without clients there is nobody to tell.
        let _ = self.batches.send(told);
    }
}

impl Client {
    /// One more client.
    pub(super) fn join(api: Arc<Api>) -> Self {
        api.hub.clients.fetch_add(1, Ordering::Relaxed);
        api.shared.feed.join();
        Self {
            batches: api.hub.batches.subscribe(),
            api,
        }
    }

    /// Notes that this client did not keep up.
    pub(super) fn drop_behind(&self) {
        self.api.hub.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.api.shared.feed.leave();
        self.api.hub.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells all clients what happens, until the watcher is over.
pub(super) async fn tell(api: Arc<Api>) {
    let (shared, hub) = (&api.shared, &api.hub);
    let mut ended = std::pin::pin!(shared.ended());
    loop {
        let ending = tokio::select! {
            ending = ended.as_mut() => Some(ending),
            news = timeout(KEEP_ALIVE_EVERY, shared.feed.news()) => match news {
                Ok(()) => {
                    sleep(GATHER).await;
                    None
                }
                Err(_) => {
                    hub.send(Told::Batch(Bytes::from_static(frames::KEEP_ALIVE)));
                    continue;
                }
            },
        };
        let (items, lost) = shared.feed.take();
        hub.tell(items, lost);
        if let Some(ending) = ending {
            let end = frames::end(&ending);
            // In this order: who subscribes in between gets it from either.
            let _ = hub.end.set(end.clone());
            hub.send(Told::End(end));
            return;
        }
    }
}
