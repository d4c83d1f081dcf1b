//! Settings of a watcher.

use std::collections::BTreeMap;
#[cfg(feature = "api")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Watcher;
use crate::run::CleanupFn;
use crate::{Context, Error, JournalLimits, MESSAGE_CAPACITY, Recovery};

/// Settings of a watcher. Each setting has a default of its own; changing one leaves the others as
/// they are.
#[must_use = "a watcher runs once it is started"]
pub struct Builder {
    pub(super) id: Arc<str>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) run_timeout: Duration,
    pub(super) call_timeout: Duration,
    pub(super) cleanup_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) recovery: Recovery,
    pub(super) message_capacity: usize,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) journal_dir: Option<PathBuf>,
    pub(super) journal_limits: JournalLimits,
    pub(super) random_seed: Option<u64>,
    pub(super) cleanup: Option<CleanupFn>,
    pub(super) log_to_stdout: bool,
    #[cfg(feature = "api")]
    pub(super) api: crate::api::Settings,
}

impl Builder {
    /// Returns default settings for a watcher named `id`: nothing durable, no API, no environment.
    pub(crate) fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            env: BTreeMap::new(),
            run_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(30),
            cleanup_timeout: Duration::from_secs(300),
            stop_grace: Duration::from_secs(5),
            recovery: Recovery::default(),
            message_capacity: MESSAGE_CAPACITY,
            state_dir: None,
            journal_dir: None,
            journal_limits: JournalLimits::default(),
            random_seed: None,
            cleanup: None,
            log_to_stdout: false,
            #[cfg(feature = "api")]
            api: crate::api::Settings::default(),
        }
    }

    /// Sets the longest time that a run may take. A longer run is dropped and counts as failed.
    /// Default 60 s. A run that blocks its thread instead of awaiting cannot be ended;
    /// `GET /watcher/health` tells it.
    pub fn run_timeout(mut self, timeout: Duration) -> Self {
        self.run_timeout = timeout;
        self
    }

    /// Sets the longest time that a poll of [`Context::watch_call`] may take. A longer poll is
    /// dropped, which shows as the error of its variable. Default 30 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets the longest time that the cleanup may take. Default 5 min.
    pub fn cleanup_timeout(mut self, timeout: Duration) -> Self {
        self.cleanup_timeout = timeout;
        self
    }

    /// Sets the time that a run in progress gets to finish once a stop is asked for. Default 5 s.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace;
        self
    }

    /// Lowers the stop grace to `most` if it is longer.
    pub(crate) fn stop_grace_at_most(mut self, most: Duration) -> Self {
        self.stop_grace = self.stop_grace.min(most);
        self
    }

    /// Sets what failures lead to.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Sets how many messages may wait. Default [`MESSAGE_CAPACITY`].
    pub fn message_capacity(mut self, capacity: usize) -> Self {
        self.message_capacity = capacity;
        self
    }

    /// Keeps the durable context in this folder, so that it survives restarts. A changed context
    /// is on disk before its run counts as successful.
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(folder.into());
        self
    }

    /// Records every run in this folder, for [`crate::replay`]. The journal takes at most the bytes
    /// of [`Builder::journal_limits`]. When the journal cannot be written any more (a full disk),
    /// it ends with a line in the log and the watcher goes on.
    pub fn journal_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.journal_dir = Some(folder.into());
        self
    }

    /// Sets how much of the journal is kept. Default parts of 8 MiB, 64 MiB in all.
    pub fn journal_limits(mut self, limits: JournalLimits) -> Self {
        self.journal_limits = limits;
        self
    }

    /// Sets the seed of the random numbers of [`Context::random`]. Default: another seed each time.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.random_seed = Some(seed);
        self
    }

    /// Sets the environment that [`Context::env`] shows. Replaces the environment that was set
    /// before.
    pub fn env<K, V>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        let pairs = env.into_iter();
        self.env = pairs
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        self
    }

    /// Sets a function that is called once on every way out: stop, kill and crash. The function may
    /// read, log and set; it cannot register a variable.
    ///
    /// ```
    /// use hersh::{Context, Control, Result, Watcher, testing};
    ///
    /// let builder = Watcher::builder("shop").cleanup(async |cx: &mut Context| -> Result {
    ///     cx.set("open", &false)?;
    ///     cx.log("closed");
    ///     Ok(())
    /// });
    /// let sells_out = async |_: &mut Context| Err(Control::stop("sold out"));
    /// let ending = testing::play(builder, sells_out, async |watcher| {
    ///     watcher.wait().await;
    ///     assert_eq!(watcher.value("open"), Ok(Some(false)));
    /// });
    /// assert_eq!(ending.to_string(), "Stopped: sold out");
    /// ```
    pub fn cleanup<F, E>(mut self, cleanup: F) -> Self
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        self.cleanup = Some(CleanupFn::new(cleanup));
        self
    }

    /// Prints log lines on stdout too, as JSON lines. Default off, on in [`crate::main`].
    pub fn log_to_stdout(mut self, on: bool) -> Self {
        self.log_to_stdout = on;
        self
    }
}

#[cfg(feature = "api")]
impl Builder {
    /// Serves the WatcherAPI on this address. Port 0 takes a free port, which
    /// [`crate::Watcher::api_address`] tells. There is no authentication: use a loopback address,
    /// or a network that only a proxy reaches.
    pub fn api(mut self, address: impl Into<SocketAddr>) -> Self {
        self.api.address = Some(crate::api::Address::Socket(address.into()));
        self
    }

    /// Serves the WatcherAPI on a Unix socket at this path, beside or instead of an address. Only
    /// the user of this process may connect. A socket that a dead process left there is replaced;
    /// the file is removed at the end.
    pub fn api_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.api.socket = Some(path.into());
        self
    }

    /// Sets the most connections that the API serves at a time; further connections wait. Each
    /// client of the event stream holds one. Default 512.
    pub fn api_connection_limit(mut self, connections: usize) -> Self {
        self.api.connection_limit = connections;
        self
    }

    /// Sets how long a client of the API may take no bytes of an answer before its connection is
    /// cut off. Default 30 s.
    pub fn api_write_timeout(mut self, timeout: Duration) -> Self {
        self.api.write_timeout = timeout;
        self
    }
}

impl Watcher {
    /// Returns settings for a watcher with this name, to be started inside a larger program.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        Builder::new(name)
    }
}
