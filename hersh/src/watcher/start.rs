//! The start of a watcher, or of a replay, with the settings of a builder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::thread::spawn_engine;
use super::{Builder, Watcher};
use crate::base::clock::{Clock, epoch_ns};
use crate::engine::Policy;
use crate::inbox::Inbox;
use crate::replay;
use crate::run::{Recorder, Session, WatcherParts};
#[cfg(feature = "api")]
use crate::shared::{Level, LogKind};
use crate::shared::{Logbook, Shared};
use crate::store::{FolderContents, StateDir, Store};
use crate::{Comparison, Context, Error, ReplayError, Replayed, StartError};

/// Longest time that writing the durable context may take.
const SAVE_TIMEOUT: Duration = Duration::from_secs(30);

impl Builder {
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
        spawn_engine(prepared, managed).await?;
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
        replay::run(journal.as_ref().into(), self.for_replay(), managed)
    }

    /// Compares a changed function with a journal, with these settings: see [`crate::compare`]. Of the settings
    /// only the environment and the time-out of runs count.
    ///
    /// # Errors
    /// As [`crate::compare`].
    pub fn compare<F, E>(
        self,
        journal: impl AsRef<Path>,
        managed: F,
    ) -> Result<Comparison, ReplayError>
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        replay::compare(journal.as_ref().into(), self.for_replay(), managed)
    }

    fn for_replay(self) -> replay::Settings {
        replay::Settings {
            env: self.env,
            run_timeout: self.run_timeout,
        }
    }

    /// Opens what the watcher needs.
    pub(crate) fn prepare(self, clock: Clock) -> Result<WatcherParts, StartError> {
        let policy = self.policy();
        // Never the seed that was set: the ids of effects must not repeat after a restart.
        let space = random_number();
        let (state_dir, kept) = match &self.state_dir {
            None => (None, FolderContents::nothing(space)),
            Some(folder) => {
                let (state_dir, kept) = StateDir::open(folder, space)?;
                (Some(state_dir), kept)
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
                    &kept.values,
                    kept.ledger.outline(),
                )?)
            }
        };
        let stdout = self.log_to_stdout.then(|| self.id.clone());
        let inbox = Inbox::new(self.message_capacity);
        let (log, folder) = (Logbook::new(stdout), (state_dir, kept));
        let mut shared = Shared::keeping(self.id, clock, inbox, log, folder);
        shared.journal = session.as_ref().map(|session| session.writer.state());
        let shared = Arc::new(shared);
        let store = Store::new(shared.committed.clone());
        Ok(WatcherParts {
            shared,
            store,
            env: Arc::new(self.env),
            seed,
            call_timeout: self.call_timeout,
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
    getrandom::u64().unwrap_or_else(|_| epoch_ns(std::time::SystemTime::now()))
}
