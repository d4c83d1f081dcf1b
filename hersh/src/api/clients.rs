//! The clients of the event stream, and the task that tells them what happens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::frames;
use super::hub::HubMessage;
use super::state::Api;

/// How long items gather before they are told to the clients.
const GATHER: Duration = Duration::from_millis(10);
/// How much silence there is before a comment shows that the stream is alive.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A client of the event stream. While this value lives, the client is counted and the engine
/// leaves items for it.
pub(super) struct Client {
    api: Arc<Api>,
    pub(super) batches: broadcast::Receiver<HubMessage>,
}

impl Client {
    /// Counts one more client and subscribes it.
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
                    hub.send(HubMessage::Batch(Bytes::from_static(frames::KEEP_ALIVE)));
                    continue;
                }
            },
        };
        let (items, lost) = shared.feed.take();
        hub.tell(items, lost);
        if let Some(ending) = ending {
            let end = frames::end_frame(&ending);
            // The event is stored before it is sent: a client that subscribes in between gets it
            // from either.
            let _ = hub.end.set(end.clone());
            hub.send(HubMessage::End(end));
            return;
        }
    }
}
