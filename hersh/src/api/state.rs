//! What the handlers of one watcher share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::hub::Hub;
use super::kept_logs::KeptLogAnswer;
use crate::shared::{Level, LogKind, Shared};

/// Least time between two log lines about clients that were cut off: a crowd of them must not push
/// everything else out of the log.
const CUT_OFF_NOTE_EVERY_MS: u64 = 1_000;

/// What the handlers of one watcher share.
pub(super) struct Api {
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) logs: KeptLogAnswer,
    /// A function that lists method and path of every endpoint.
    pub(super) endpoints: fn() -> Vec<String>,
    /// The TCP port, 0 without one.
    pub(super) port: u16,
    /// The OpenAPI document, as JSON, once somebody has asked for it.
    pub(super) document: OnceLock<Bytes>,
    /// The number of connections that were cut off because their peer took no bytes.
    cut_off: AtomicU64,
    /// When the last log line about that was written, engine time.
    cut_off_noted_ms: AtomicU64,
}

impl Api {
    /// Returns an API that nobody has asked anything.
    pub(super) fn new(shared: Arc<Shared>, port: u16, endpoints: fn() -> Vec<String>) -> Self {
        Self {
            shared,
            hub: Hub::new(),
            logs: KeptLogAnswer::default(),
            endpoints,
            port,
            document: OnceLock::new(),
            cut_off: AtomicU64::new(0),
            cut_off_noted_ms: AtomicU64::new(0),
        }
    }

    /// Returns the number of connections that were cut off since the start.
    pub(super) fn cut_off_count(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Notes that a peer took no bytes for too long.
    pub(super) fn cut_off(&self, after: Duration) {
        let count = self.cut_off.fetch_add(1, Ordering::Relaxed) + 1;
        let now_ms = self.shared.clock.now_ms();
        let noted_ms = self.cut_off_noted_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(noted_ms) >= CUT_OFF_NOTE_EVERY_MS {
            self.cut_off_noted_ms.store(now_ms, Ordering::Relaxed);
            let text = format!(
                "an API client took no bytes for {after:?} and was cut off ({count} so far)"
            );
            self.shared.note(Level::Warn, LogKind::Reduce, 0, &text);
        }
    }
}
