//! The context of a managed function: the hooks that it reads and changes.
//!
//! The hooks that watch are in [`watch`], what they give is in [`watched`]; below them is the
//! [`registry`] of variables. The hooks of messages are in [`messages`]. The memoising hooks are in [`memo`], what they keep is in [`cache`].
//! The hooks that act are in [`effects`], what a run asks for is in [`asks`].
//! The hooks of durable time are in [`timers`].
//! [`run`] holds what the runner calls around each run.

mod asks;
mod blocking;
mod cache;
mod effects;
mod memo;
mod messages;
mod registry;
mod run;
mod timers;
mod watch;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hersh_machine::SplitMix64;
use rustc_hash::FxHashMap;
use serde::{Serialize, de::DeserializeOwned};

use crate::HookError;
use crate::Sender;
use crate::error::check_key;
use crate::inbox::Intake;
use crate::journal::RunCapture;
use crate::shared::{Level, LogKind, Shared};
use crate::store::Store;
use crate::timers::Index;

use asks::Asks;
pub use blocking::blocking;
use cache::Cache;
pub use effects::Effects;
pub(crate) use registry::{Sources, Watch};
pub(crate) use run::ContextParts;
use timers::DueTimers;
pub use timers::Timer;
pub use watched::Watched;

/// Everything that a managed function reads and changes. Each run gets it by `&mut` and can keep no
/// part of it beyond the run.
#[derive(Debug)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) asks: Asks,
    pub(crate) timers: Index,
    /// The timers that this run takes in.
    due: DueTimers,
    pub(crate) watches: FxHashMap<Arc<str>, Watch>,
    /// What the journal will say about the run in progress; `None` without a journal.
    pub(crate) taken: Option<RunCapture>,
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
    /// True once the run asked for another run.
    again: bool,
    /// What the run replied to its message, as JSON.
    reply: Option<Arc<str>>,
    /// False once what the run changed is forgotten.
    counts: bool,
}

/// The causes of a run. One run may have several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggered {
    /// True for the first run.
    pub init: bool,
    /// True when the run is another try after a failed run.
    pub recovery: bool,
    /// True when a message came in: [`Context::message`].
    pub message: bool,
    /// The name of the effect whose outcome came in: [`Effects::settled`].
    pub effect: Option<Arc<str>>,
    /// The names of the timers that are due.
    pub timers: Vec<Arc<str>>,
    /// The names of the watched variables that changed.
    pub variables: Vec<Arc<str>>,
}

impl Context {
    /// Returns what caused this run.
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

    /// Returns a value of the durable context, or `None` if the key has no value.
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

    /// Sets a value of the durable context. This run sees the new value at once. The value is
    /// committed with all other changes of the run when the run succeeds; a failed run leaves no
    /// trace. With a state folder the value is on disk before the run counts as successful.
    ///
    /// # Errors
    /// [`HookError`] when the value cannot be written as JSON or the context would grow past its
    /// limits.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), HookError> {
        check_key("set", key)?;
        self.store.set("set", key, value)
    }

    /// Replaces a value of the durable context with `next` of it and returns the new value. `next`
    /// starts from the type's default when there is no value yet. See [`Context::set`].
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
        check_key("update", key)?;
        let value = next(self.store.get("update", key)?.unwrap_or_default());
        self.store.set("update", key, &value)?;
        Ok(value)
    }

    /// Removes a value from the durable context and returns whether there was one. The removal
    /// counts and is committed like a change by [`Context::set`].
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
        // The library's own keys are no values of the program: a timer is removed by `unwatch`.
        check_key("remove", key).is_ok() && self.store.remove(key)
    }

    /// Returns a variable of the environment as it was when the watcher was made. The text is the caller's
    /// own, so the context can be changed while it is in use. The journal does
    /// not record the environment, because it often holds secrets: replay with the same
    /// environment.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let currency = cx.env("CURRENCY").unwrap_or_else(|| "USD".into());
    /// cx.set("currency", &*currency)?;
    /// # assert_eq!(&*currency, "USD");
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn env(&self, key: &str) -> Option<Arc<str>> {
        self.env.get(key).map(|value| value.as_str().into())
    }

    /// Returns the time of this run. It is the same for the whole run; a replay returns the
    /// recorded time.
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

    /// Returns 64 random bits, the same ones in a replay. They are not for secrets.
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

    /// Returns a random number from 0 up to and without `bound`; 0 when `bound` is 0. See
    /// [`Context::random`].
    pub fn random_below(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        self.random.below(bound)
    }

    /// Returns a random number from 0 up to and without 1, in steps of 2⁻⁵³. See
    /// [`Context::random`].
    pub fn random_unit(&mut self) -> f64 {
        const STEPS: u64 = 1 << 53;
        #[allow(
            clippy::cast_precision_loss,
            reason = "whole numbers up to 2^53 are exact"
        )]
        let unit = self.random_below(STEPS) as f64 / STEPS as f64;
        unit
    }

    /// Returns false in a replay and in a [`crate::testing::Test`], where a run must touch nothing outside.
    ///
    /// To act on the world, ask for an effect ([`Context::effects`]): neither a replay nor a test acts on what a
    /// run asks for. This is for what is no act, such as a metric that is told to another library. What a run
    /// decides, logs and keeps must not depend on the answer.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.sources {
            Sources::Live => true,
            Sources::Scripted { .. } => false,
        }
    }

    /// Returns a handle that sends messages to this watcher, for a task or a thread of the program's own: a
    /// client's callback, a hook of another library. It keeps nothing alive: once the watcher is over, it sends
    /// no more.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # struct Client;
    /// # impl Client { fn on_news(&self, _: impl Fn(&str) + Send + 'static) {} }
    /// let sender = cx.sender();
    /// cx.memo("client", || {
    ///     let client = Client;
    ///     client.on_news(move |news| drop(sender.send(news)));
    ///     client
    /// })?;
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn sender(&self) -> Sender {
        match self.sources {
            Sources::Live => Sender::to(self.shared.clone()),
            Sources::Scripted { .. } => Sender::to_nobody(),
        }
    }

    /// Asks for another run, once this one is committed, whether or not another signal comes: for work in pieces,
    /// each committed by itself. When this run fails, nothing was asked for. The process may end before the other
    /// run begins; the first run of the next life finds what this one has committed.
    ///
    /// ```
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let mut left: u64 = cx.value("left")?.unwrap_or(1_000);
    /// left -= left.min(400);
    /// cx.set("left", &left)?;
    /// if left > 0 {
    ///     cx.run_again();
    /// }
    /// # Ok(())
    /// # });
    /// # assert!(test.start().ok().again);
    /// # assert!(test.signals().run().ok().again);
    /// # assert!(!test.signals().run().ok().again);
    /// ```
    pub fn run_again(&mut self) {
        self.again = true;
    }

    /// Returns the number of this run, 1 for the first.
    #[must_use]
    pub fn run_number(&self) -> u64 {
        self.run
    }

    /// Writes a line into the watcher's log, and to stdout if the watcher was told to. The line is
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
