//! A watcher as its owner holds it: settings, start, handle; and as the whole of a program.
//!
//! ```text
//! environment ─► program ─┐
//!        settings ────────┴─► builder ─► start ─► thread (engine, runs)
//!                                          │         ▲ inbox   │ shared
//!                                          └──► handle, API ◄──┘
//! ```

mod ask;
mod builder;
mod exit_codes;
mod program;
mod replaying;
mod start;
mod thread;

#[cfg(feature = "api")]
#[cfg(test)]
mod blocked;
#[cfg(test)]
mod virtual_time;

use std::collections::BTreeMap;
#[cfg(feature = "api")]
use std::net::SocketAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::inbox::Shown;
use crate::shared::{LogKind, Milestone, Shared};
use crate::store::decode;
use crate::{EndKind, Ending, HookError, LogLine, SendError, Status};

pub use ask::{Answer, AskError};
pub use builder::Builder;
pub use program::main;
pub use replaying::{compare, replay};
use thread::engine_lost;
pub(crate) use thread::finish;

/// A running watcher. Clones are handles to the same one; when the last is dropped, the watcher
/// is asked to stop.
#[derive(Clone, Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    #[cfg(feature = "api")]
    server: Option<crate::api::Server>,
    _stop_on_drop: Arc<StopOnDrop>,
}

#[derive(Debug)]
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let reason = "its last handle was dropped";
        request_end(&self.0, Ending::new(EndKind::Stopped, reason));
    }
}

impl Watcher {
    /// Queues a message: it has exactly one run that counts, after those that were queued before it. Returns
    /// before the message is on disk; see [`Watcher::deliver`].
    ///
    /// # Errors
    /// [`SendError`]; the message was not queued then.
    pub fn send(&self, message: impl Into<Arc<str>>) -> Result<(), SendError> {
        self.shared.send(message.into())
    }

    /// Returns the present status of the watcher.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns a value of the watcher's durable context, as the last successful run left it.
    ///
    /// # Errors
    /// [`HookError`] when the stored value is no `T`.
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HookError> {
        let values = self.shared.committed.values();
        let json = values.get(key).map(AsRef::as_ref);
        decode("Watcher::value", key, json)
    }

    /// Returns the watcher's variables by name, as the last run saw them.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<Arc<str>, Shown> {
        let variables = self.shared.variables().into_iter();
        variables
            .map(|var| (var.name.clone(), var.show()))
            .collect()
    }

    /// Returns the newest lines of the watcher's log, oldest first: those of the kinds that are
    /// printed.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.shared.log.lines(&[
            LogKind::Effect,
            LogKind::Reduce,
            LogKind::WatchError,
            LogKind::StateFault,
        ])
    }

    /// Asks the watcher to stop: the run in progress may finish within the stop grace, no other
    /// begins, the cleanup runs. Returns at once; see [`Watcher::wait`]. Asking again changes
    /// nothing.
    pub fn stop(&self, reason: impl Into<Arc<str>>) {
        let ending = Ending::new(EndKind::Stopped, reason);
        request_end(&self.shared, ending);
    }

    /// Asks the watcher to end at once: the run in progress is dropped, the cleanup runs. A kill
    /// during the cleanup drops the cleanup too. Returns at once.
    pub fn kill(&self, reason: impl Into<Arc<str>>) {
        let ending = Ending::new(EndKind::Killed, reason);
        request_end(&self.shared, ending);
    }

    /// Waits until the watcher's first run has succeeded.
    ///
    /// # Errors
    /// How the watcher ended, if it ended before that.
    pub async fn ready(&self) -> Result<(), Ending> {
        match self.milestone(|at| *at != Milestone::Starting).await {
            Milestone::Ended(ending) => Err(ending),
            Milestone::Starting | Milestone::Up => Ok(()),
        }
    }

    /// Waits until the watcher is over and has released all it held: its thread's work, its
    /// sources, its state folder, its port.
    pub async fn wait(&self) -> Ending {
        let ended = self.milestone(|at| matches!(at, Milestone::Ended(_))).await;
        #[cfg(feature = "api")]
        if let Some(server) = &self.server {
            server.closed().await;
        }
        match ended {
            Milestone::Ended(ending) => ending,
            Milestone::Starting | Milestone::Up => engine_lost("it left no ending"),
        }
    }

    /// Returns the TCP address that the watcher's API listens on, if it listens on one.
    #[cfg(feature = "api")]
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.server.as_ref()?.address()
    }

    /// Returns a handle to a watcher without an API.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            _stop_on_drop: Arc::new(StopOnDrop(shared.clone())),
            #[cfg(feature = "api")]
            server: None,
            shared,
        }
    }

    /// Returns a handle to a watcher whose API is served from now on.
    #[cfg(feature = "api")]
    pub(crate) fn served(
        shared: Arc<Shared>,
        listeners: crate::api::Listeners,
        settings: &crate::api::Settings,
    ) -> Self {
        let server = crate::api::serve(shared.clone(), listeners, settings);
        Self {
            _stop_on_drop: Arc::new(StopOnDrop(shared.clone())),
            server: Some(server),
            shared,
        }
    }

    async fn milestone(&self, reached: impl FnMut(&Milestone) -> bool) -> Milestone {
        let mut receiver = self.shared.milestone.subscribe();
        match receiver.wait_for(reached).await {
            Ok(milestone) => milestone.clone(),
            // The sender lives in `shared`, which this handle holds.
            Err(_) => Milestone::Ended(engine_lost("its state is gone")),
        }
    }
}

fn request_end(shared: &Shared, ending: Ending) {
    shared.inbox.request_end(ending, shared.clock.now_ms());
}
