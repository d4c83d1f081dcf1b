//! The hooks that watch: the first call registers a variable, every call reads it.

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;

use super::Context;
use super::registry::Source;
use crate::inbox::Watchable;
use crate::sources;
use crate::{Error, HookError, INTERVAL_MAX, INTERVAL_MIN, Tick, Watched};

impl Context {
    /// Watches the time: the variable gets a new value every `every`, counted from its registration
    /// on. A restart registers it anew, so the count begins anew too, and nothing is told of the intervals that
    /// passed meanwhile: for a rhythm that outlives restarts there is [`Context::every`].
    ///
    /// The first call registers the variable `name` and sees its initial value, a count of 0.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let minute = cx.watch_tick("minute", std::time::Duration::from_secs(60))?;
    /// if minute.is_triggered(cx) {
    ///     cx.log(format!("{} minutes", minute.count));
    /// }
    /// # assert_eq!(minute.count, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when the name is unusable or taken by another hook or interval, the limit of
    /// [`crate::WATCH_LIMIT`] variables is reached, or the interval is not within [`INTERVAL_MIN`] and
    /// [`INTERVAL_MAX`].
    pub fn watch_tick(&mut self, name: &str, every: Duration) -> Result<Watched<Tick>, HookError> {
        const HOOK: &str = "watch_tick";
        let source = Source::Tick { every };
        if let Some(read) = self.read(HOOK, name, &source) {
            return read;
        }
        check_interval(HOOK, name, every)?;
        let initial = Arc::new(Tick::new(0, self.now));
        let (watched, target) = self.register(HOOK, name, source, &initial)?;
        if let Some(target) = target {
            self.is_fed_by(name, sources::tick(target, every));
        }
        Ok(watched)
    }

    /// Watches what `poll` finds: once now, and then every `every`. `poll` does its IO on a task of
    /// its own, and its result is the new value of the variable. Each result causes a run. When
    /// results come faster than runs end, a run sees only the newest.
    ///
    /// `initial` is the value until the first poll answers. A poll that fails, panics or does not
    /// answer in time shows as [`Watched::error`], beside the last good value. Polls of one
    /// variable never overlap. Every run makes the closure, but only the closure of the registering
    /// call is used.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn fetch_price() -> Result<f64, std::io::Error> { Ok(1.0) }
    /// let second = std::time::Duration::from_secs(1);
    /// let price = cx.watch_call("price", second, None, async || fetch_price().await.map(Some))?;
    /// match (*price, price.error()) {
    ///     (Some(price), _) => cx.log(format!("it costs {price}")),
    ///     (None, Some(error)) => cx.log(format!("no price yet: {error}")),
    ///     (None, None) => {}
    /// }
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Context::watch_tick`].
    pub fn watch_call<T, E>(
        &mut self,
        name: &str,
        every: Duration,
        initial: T,
        poll: impl AsyncFnMut() -> Result<T, E> + 'static,
    ) -> Result<Watched<T>, HookError>
    where
        T: Watchable,
        E: Into<Error> + 'static,
    {
        let replace = |_: &T, fetched| Some(fetched);
        self.call("watch_call", (name, every), initial, poll, replace)
    }

    /// Like [`Context::watch_call`], with a pure function that folds what `poll` fetched into the
    /// last value: `Some` is the next value and causes a run, `None` says that nothing worth a
    /// run happened. Results are folded in their order, and none is left out.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn fetch_height() -> Result<u64, std::io::Error> { Ok(1) }
    /// let second = std::time::Duration::from_secs(1);
    /// let fetch = async || fetch_height().await;
    /// // A run for each new block, not for each poll.
    /// let height = cx.watch_fold("height", second, 0, fetch, |last, height| {
    ///     (height > *last).then_some(height)
    /// })?;
    /// # assert_eq!(*height, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Context::watch_tick`].
    pub fn watch_fold<T, F, E>(
        &mut self,
        name: &str,
        every: Duration,
        initial: T,
        poll: impl AsyncFnMut() -> Result<F, E> + 'static,
        fold: impl FnMut(&T, F) -> Option<T> + 'static,
    ) -> Result<Watched<T>, HookError>
    where
        T: Watchable,
        F: 'static,
        E: Into<Error> + 'static,
    {
        self.call("watch_fold", (name, every), initial, poll, fold)
    }

    /// Watches a stream. When values come faster than runs end, only the newest is kept: a fast
    /// stream costs the memory of one value, not of a queue. The last value always arrives.
    ///
    /// `open` is called once, at the registration. An error of the stream shows as
    /// [`Watched::error`], beside the last good value. When the stream ends, the value stays.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// use futures_util::{StreamExt, stream};
    ///
    /// let open = || stream::iter(1..=3).map(Ok::<_, std::io::Error>);
    /// let newest = cx.watch_flow("numbers", 0, open)?;
    /// # assert_eq!(*newest, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Context::watch_tick`], without an interval.
    pub fn watch_flow<T, S, E>(
        &mut self,
        name: &str,
        initial: T,
        open: impl FnOnce() -> S + 'static,
    ) -> Result<Watched<T>, HookError>
    where
        T: Watchable,
        S: Stream<Item = Result<T, E>> + 'static,
        E: Into<Error> + 'static,
    {
        const HOOK: &str = "watch_flow";
        let value = type_name::<T>();
        let source = Source::Flow { value };
        if let Some(read) = self.read(HOOK, name, &source) {
            return read;
        }
        let (watched, target) = self.register(HOOK, name, source, &Arc::new(initial))?;
        if let Some(target) = target {
            self.is_fed_by(name, sources::flow(target, open));
        }
        Ok(watched)
    }

    /// Watches a variable no longer, or removes a timer, and returns whether there was one. Its source ends: a poll under way
    /// is dropped, and a stream is closed. An update that waits for the next run is dropped with it. The name and its
    /// place among the [`crate::WATCH_LIMIT`] variables are free at once, so a later call of a hook may
    /// register the name anew, with another interval or another source.
    ///
    /// A function that watches something for a while calls this when it is over. Otherwise every
    /// order, file or user that it ever watched would keep its place for as long as the watcher runs.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn fetch_state(_id: u64) -> Result<String, std::io::Error> { Ok("filled".into()) }
    /// let open: Vec<u64> = cx.value("open")?.unwrap_or_default();
    /// for id in open {
    ///     let (name, second) = (format!("order/{id}"), std::time::Duration::from_secs(1));
    ///     let state = cx.watch_call(&name, second, String::new(), async move || fetch_state(id).await)?;
    ///     if *state == "filled" {
    ///         cx.unwatch(&name);
    ///     }
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn unwatch(&mut self, name: &str) -> bool {
        // Both, if a variable and a timer share the name.
        let was_set = self.remove_timer(name);
        self.unregister(name) || was_set
    }

    fn call<T, F, E>(
        &mut self,
        hook: &'static str,
        (name, every): (&str, Duration),
        initial: T,
        poll: impl AsyncFnMut() -> Result<F, E> + 'static,
        fold: impl FnMut(&T, F) -> Option<T> + 'static,
    ) -> Result<Watched<T>, HookError>
    where
        T: Watchable,
        F: 'static,
        E: Into<Error> + 'static,
    {
        let value = type_name::<T>();
        let source = Source::Call { hook, every, value };
        if let Some(read) = self.read(hook, name, &source) {
            return read;
        }
        check_interval(hook, name, every)?;
        let initial = Arc::new(initial);
        let limit = self.call_timeout;
        let (watched, target) = self.register(hook, name, source, &initial)?;
        if let Some(target) = target {
            let task = sources::call(target, initial, (every, limit), poll, fold);
            self.is_fed_by(name, task);
        }
        Ok(watched)
    }
}

fn check_interval(hook: &'static str, name: &str, every: Duration) -> Result<(), HookError> {
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&every) {
        return Ok(());
    }
    Err(HookError::Interval {
        hook,
        name: name.chars().take(80).collect(),
        every,
    })
}

impl<T> Watched<T> {
    /// Returns true when an update of this variable is one of the causes of this run.
    #[must_use]
    pub fn is_triggered(&self, cx: &Context) -> bool {
        cx.took_in(self.changed_in_run)
    }
}
