//! What a managed function sees and uses: its hooks.
//!
//! The hooks that watch are in [`watch`] with the [`registry`] of variables below them, the
//! memoised ones in [`memo`], what the runner calls around each run in [`run`].

mod memo;
mod registry;
mod run;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hersh_machine::SplitMix64;
use rustc_hash::FxHashMap;
use serde::{Serialize, de::DeserializeOwned};

use crate::HookError;
use crate::inbox::Intake;
use crate::journal::Taken;
use crate::logbook::{Level, LogKind};
use crate::memo::Cache;
use crate::shared::Shared;
use crate::store::Store;

pub(crate) use registry::{Sources, Watch};
pub(crate) use run::Origin;

/// Everything that a managed function reads and changes. Given to each run by `&mut`; nothing of
/// it can be kept beyond the run.
#[derive(Debug)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) watches: FxHashMap<Arc<str>, Watch>,
    /// What the journal will say about this run; `None` without a journal.
    pub(crate) taken: Option<Taken>,
    env: Arc<BTreeMap<String, String>>,
    sources: Sources,
    call_timeout: Duration,
    memos: Cache,
    seed: u64,
    random: SplitMix64,
    draws: u64,
    intake: Intake,
    triggered: Triggered,
    run: u64,
    now: SystemTime,
    in_cleanup: bool,
}

/// What caused a run. Several causes are taken in by one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggered {
    /// It is the first run.
    pub init: bool,
    /// It is another try after a failed run.
    pub recovery: bool,
    /// A message came in: [`Context::message`].
    pub message: bool,
    /// The watched variables that changed, by name.
    pub variables: Vec<Arc<str>>,
}

impl Context {
    /// The message that caused this run, if one did. Each message has exactly one run.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if let Some(message) = cx.message() {
    ///     cx.log(format!("somebody said {message}"));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn message(&self) -> Option<Arc<str>> {
        let message = self.intake.message.as_ref();
        message.map(|message| message.content.clone())
    }

    /// What caused this run.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if cx.triggered().init {
    ///     cx.log("the first run");
    /// }
    /// # assert!(cx.triggered().init);
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn triggered(&self) -> &Triggered {
        &self.triggered
    }

    /// A value of the durable context, or `None` if the key was never set.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let visits: u64 = cx.value("visits")?.unwrap_or_default();
    /// cx.set("visits", &(visits + 1))?;
    /// # assert_eq!(cx.value("visits")?, Some(1));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when the stored value is no `T`.
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HookError> {
        self.store.get("value", key)
    }

    /// Sets a value of the durable context. It counts for this run at once, and is committed
    /// with all others of the run when the run succeeds; a failed run leaves no trace. With a
    /// state folder it is on disk before the run counts as successful.
    ///
    /// # Errors
    /// [`HookError`] when the value cannot be written as JSON or the context would grow past its
    /// limits.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), HookError> {
        self.store.set("set", key, value)
    }

    /// Replaces a value of the durable context by a function of it, starting from the type's
    /// default, and gives the new one. See [`Context::set`].
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let visits = cx.update("visits", |visits: u64| visits + 1)?;
    /// # assert_eq!(visits, 1);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Context::value`] and [`Context::set`].
    pub fn update<T>(&mut self, key: &str, next: impl FnOnce(T) -> T) -> Result<T, HookError>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let value = next(self.store.get("update", key)?.unwrap_or_default());
        self.store.set("update", key, &value)?;
        Ok(value)
    }

    /// Removes a value from the durable context; whether there was one. It counts and is committed
    /// like [`Context::set`].
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// cx.set("order-17", "open")?;
    /// cx.remove("order-17");
    /// # assert_eq!(cx.value::<String>("order-17")?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn remove(&mut self, key: &str) -> bool {
        self.store.remove(key)
    }

    /// A variable of the environment as it was when the watcher was made. It is not recorded in
    /// the journal, because it often holds secrets: replay with the same one.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let currency = cx.env("CURRENCY").unwrap_or("USD");
    /// # assert_eq!(currency, "USD");
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn env(&self, key: &str) -> Option<&str> {
        self.env.get(key).map(String::as_str)
    }

    /// The time of this run: the same for all of it, and the recorded one in a replay.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let began = cx.now();
    /// # assert_eq!(cx.now(), began);
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// 64 random bits, the same ones in a replay. Not for secrets.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let order = format!("order-{:016x}", cx.random());
    /// let side = ["buy", "sell"][cx.random_below(2) as usize];
    /// let noise = cx.random_unit() - 0.5;
    /// # assert!(order.len() == 22 && side.len() < 5 && noise.abs() <= 0.5);
    /// # Ok(())
    /// # });
    /// ```
    pub fn random(&mut self) -> u64 {
        self.draws += 1;
        self.random.next_u64()
    }

    /// A random number from 0 up to and without `bound`; 0 when `bound` is 0. See
    /// [`Context::random`].
    pub fn random_below(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        self.random.below(bound)
    }

    /// A random number from 0 up to and without 1, in steps of 2⁻⁵³. See [`Context::random`].
    pub fn random_unit(&mut self) -> f64 {
        const STEPS: u64 = 1 << 53;
        #[allow(
            clippy::cast_precision_loss,
            reason = "whole numbers up to 2^53 are exact"
        )]
        let unit = self.random_below(STEPS) as f64 / STEPS as f64;
        unit
    }

    /// Whether this run counts: false in a replay and in a [`crate::testing::Test`], where nothing
    /// outside may be touched. Ask it before acting on the world; what a run decides, logs and keeps
    /// must not depend on it.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn send_mail() -> hersh::Result { panic!("not in a test") }
    /// if cx.is_live() {
    ///     send_mail().await?;
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.sources {
            Sources::Live => true,
            Sources::Scripted { .. } => false,
        }
    }

    /// The number of this run, 1 for the first.
    #[must_use]
    pub fn run_number(&self) -> u64 {
        self.run
    }

    /// Writes a line into the watcher's log (and to stdout, if the watcher was told to). It is
    /// written at once, and stays when the run fails.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// cx.log("bought 5");
    /// # Ok(())
    /// # });
    /// ```
    pub fn log(&mut self, message: impl AsRef<str>) {
        let message = message.as_ref();
        if let Some(taken) = &mut self.taken {
            taken.log(message);
        }
        self.shared
            .note(Level::Info, LogKind::Effect, self.run, message);
    }
}
