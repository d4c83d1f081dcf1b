//! Settings of a watcher, and its start.

use std::collections::BTreeMap;
#[cfg(feature = "api")]
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::engine::Policy;
use crate::inbox::Inbox;
use crate::replay;
use crate::run::{CleanupFn, Prepared, Recorder, Session};
use crate::shared::Logbook;
use crate::shared::Shared;
#[cfg(feature = "api")]
use crate::shared::{Level, LogKind};
use crate::store::{StateDir, Store, Values};
use crate::{
    Context, Error, JournalLimits, MESSAGE_CAPACITY, Recovery, ReplayError, Replayed, StartError,
    Watcher,
};

/// Longest time that writing the durable context may take.
const SAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a watcher. Each setting has a default of its own; changing one leaves the others as
/// they are.
#[must_use = "a watcher runs once it is started"]
pub struct Builder {
    pub(crate) id: Arc<str>,
    pub(crate) env: BTreeMap<String, String>,
    run_timeout: Duration,
    call_timeout: Duration,
    cleanup_timeout: Duration,
    stop_grace: Duration,
    recovery: Recovery,
    message_capacity: usize,
    state_dir: Option<PathBuf>,
    journal_dir: Option<PathBuf>,
    journal_limits: JournalLimits,
    random_seed: Option<u64>,
    cleanup: Option<CleanupFn>,
    pub(crate) log_to_stdout: bool,
    #[cfg(feature = "api")]
    pub(crate) api: crate::api::Settings,
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
    /// Default 60 s. A run that blocks its thread instead of awaiting cannot be ended.
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

    /// Starts the watcher on a thread of its own.
    ///
    /// With an API, a tokio runtime with IO and time must be around; the API is served there.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start<F, E>(self, managed: F) -> Result<Watcher, StartError>
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        self.check()?;
        #[cfg(feature = "api")]
        let settings = self.api.clone();
        #[cfg(feature = "api")]
        let listeners = crate::api::listen(&settings).await?;
        let prepared = self.prepare(Clock::system())?;
        let shared = prepared.shared.clone();
        #[cfg(feature = "api")]
        for place in listeners.iter().flat_map(crate::api::Listeners::places) {
            let text = format!("the API listens on {place}");
            shared.note(Level::Info, LogKind::Reduce, 0, &text);
        }
        crate::watcher::spawn_engine(prepared, managed).await?;
        #[cfg(feature = "api")]
        let watcher = match listeners {
            None => Watcher::new(shared),
            Some(listeners) => Watcher::served(shared, listeners, &settings),
        };
        #[cfg(not(feature = "api"))]
        let watcher = Watcher::new(shared);
        Ok(watcher)
    }

    /// Replays a journal with these settings: see [`crate::replay`]. Of the settings only the
    /// environment and the time-out of runs count.
    ///
    /// # Errors
    /// As [`crate::replay`].
    pub fn replay<F, E>(
        self,
        journal: impl AsRef<Path>,
        managed: F,
    ) -> Result<Replayed, ReplayError>
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        let settings = replay::Settings {
            env: self.env,
            run_timeout: self.run_timeout,
        };
        replay::run(journal.as_ref().into(), settings, managed)
    }

    /// Opens what the watcher needs.
    pub(crate) fn prepare(self, clock: Clock) -> Result<Prepared, StartError> {
        let policy = self.policy();
        let (state_dir, values) = match &self.state_dir {
            None => (None, Values::new()),
            Some(folder) => {
                let (state_dir, values) = StateDir::open(folder)?;
                (Some(state_dir), values)
            }
        };
        let drawn = random_number();
        let seed = self.random_seed.unwrap_or(drawn);
        let session = match &self.journal_dir {
            None => None,
            Some(folder) => {
                let limits = self.journal_limits;
                let watcher = self.id.clone();
                Some(Session::open(
                    folder,
                    limits,
                    (watcher, drawn, seed),
                    &values,
                )?)
            }
        };
        let stdout = self.log_to_stdout.then(|| self.id.clone());
        let inbox = Inbox::new(self.message_capacity);
        let mut shared = Shared::new(self.id, clock, inbox, Logbook::new(stdout));
        shared.journal = session.as_ref().map(|session| session.writer.state());
        let shared = Arc::new(shared);
        let store = Store::new(shared.committed.clone(), values);
        Ok(Prepared {
            shared,
            store,
            env: Arc::new(self.env),
            seed,
            call_timeout: self.call_timeout,
            state_dir,
            recorder: Recorder::new(session),
            cleanup: self.cleanup,
            policy,
        })
    }

    fn policy(&self) -> Policy {
        Policy {
            run_timeout_ms: millis(self.run_timeout),
            save_timeout_ms: millis(SAVE_TIMEOUT),
            cleanup_timeout_ms: millis(self.cleanup_timeout),
            stop_grace_ms: millis(self.stop_grace),
            recovery: self.recovery,
        }
    }

    /// Refuses settings that make no sense.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let refuse = |setting, value: String, rule| {
            Err(StartError::Setting {
                setting,
                value,
                rule,
            })
        };
        let id = &self.id;
        if id.is_empty() || id.len() > 128 || id.contains('\0') {
            return refuse(
                "the watcher's name",
                format!("{:?}", self.id),
                "give 1 to 128 bytes without NUL",
            );
        }
        for (setting, timeout) in [
            ("run_timeout", self.run_timeout),
            ("call_timeout", self.call_timeout),
            ("cleanup_timeout", self.cleanup_timeout),
        ] {
            if millis(timeout) == 0 {
                return refuse(setting, format!("{timeout:?}"), "give at least 1 ms");
            }
        }
        if self.message_capacity == 0 {
            return refuse("message_capacity", "0".into(), "give at least 1");
        }
        if self.journal_limits.part_bytes == 0 {
            let rule = "give a part at least 1 byte";
            return refuse("journal_limits.part_bytes", "0".into(), rule);
        }
        if self.recovery.max_consecutive_failures == 0 {
            let setting = "recovery.max_consecutive_failures";
            return refuse(setting, "0".into(), "give at least 1");
        }
        #[cfg(feature = "api")]
        self.api.check()?;
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns 64 bits that differ from one start to the next. They are not for secrets: a system
/// without a source of randomness is no reason not to start, so the time is used then.
fn random_number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| crate::base::clock::epoch_ns(std::time::SystemTime::now()))
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
