//! The sources of watched variables: one task for each variable, on the engine's thread. A task ends with
//! that thread, or when its variable is not watched any more.
//!
//! ```text
//! tick   ── sleep ──────────────────────────────┐
//! call   ── sleep ─► poll (bounded) ─► fold ────┼─► Var::offer ─► bell ─► a run
//! flow   ── stream, newest of a burst ──────────┘   (one slot)
//! ```
//! A source that fails, panics or hangs shows as the error of its variable, beside the last good
//! value. `call` tries again at its next interval; a stream that panics is over.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, Stream};
use serde::{Deserialize, Serialize};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Error;
use crate::base::clock::{in_whole_ms, rfc3339_serde};
use crate::base::panics::panic_text;
use crate::inbox::{Var, Watchable};
use crate::shared::{Level, LogKind, Shared};

/// Most values of a stream that are looked at in one go; the newest of them is kept.
const BURST: usize = 256;

/// The value of a tick: see [`Context::watch_tick`](crate::Context::watch_tick).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Intervals that have passed since the variable was registered. Several may pass during one
    /// long run: none is lost from the count.
    pub count: u64,
    /// When the last interval passed, or when the variable was registered; in whole milliseconds.
    #[serde(with = "rfc3339_serde")]
    pub at: SystemTime,
}

/// A variable and the watcher it belongs to.
pub(crate) struct Target {
    pub(crate) shared: Arc<Shared>,
    pub(crate) var: Arc<Var>,
}

impl Tick {
    /// Returns the tick with this count, as it is shown and recorded: to the millisecond.
    pub(crate) fn new(count: u64, at: SystemTime) -> Self {
        let at = in_whole_ms(at);
        Self { count, at }
    }
}

/// Feeds a variable with a tick every `every`.
pub(crate) fn tick(target: Target, every: Duration) -> AbortHandle {
    // The start is read before the spawn: a run that blocks the thread then delays the task, not
    // the count.
    let start = Instant::now();
    target.show_due(start + every);
    let task = spawn_local(async move {
        let mut count = 0;
        loop {
            target.sleep_until(start + times(every, count + 1)).await;
            // A busy engine may wake this task late: every interval that passed was counted.
            count = passed(start.elapsed(), every).max(count + 1);
            target.value(Arc::new(Tick::new(count, target.shared.clock.wall())));
        }
    });
    task.abort_handle()
}

/// Feeds a variable with what `poll` finds, folded into the last value, every `every`. A poll that
/// lasts longer than `limit` is dropped. Polls never overlap: intervals that pass during a poll are
/// left out.
pub(crate) fn call<T, F, E>(
    target: Target,
    initial: Arc<T>,
    (every, limit): (Duration, Duration),
    mut poll: impl AsyncFnMut() -> Result<F, E> + 'static,
    mut fold: impl FnMut(&T, F) -> Option<T> + 'static,
) -> AbortHandle
where
    T: Watchable,
    F: 'static,
    E: Into<Error> + 'static,
{
    let start = Instant::now();
    target.shared.clone().spawn_shown(async move {
        let mut last = initial;
        let mut error = None;
        loop {
            let fetched = guarded(limit, async { poll().await.map_err(text) }).await;
            let folded = fetched.and_then(|fetched| {
                let next = catch_unwind(AssertUnwindSafe(|| fold(&last, fetched)));
                next.map_err(|panic| panic_text(&*panic))
            });
            match folded {
                Ok(Some(next)) => {
                    last = Arc::new(next);
                    error = None;
                    target.value(last.clone());
                }
                // The poll succeeded after an error: that is news even when the value is not new.
                Ok(None) if error.take().is_some() => target.well(),
                Ok(None) => {}
                Err(text) => target.error(&mut error, text),
            }
            let next = passed(start.elapsed(), every).saturating_add(1);
            target.sleep_until(start + times(every, next)).await;
        }
    })
}

/// Feeds a variable with the values of the stream that `open` makes.
pub(crate) fn flow<T, S, E>(target: Target, open: impl FnOnce() -> S + 'static) -> AbortHandle
where
    T: Watchable,
    S: Stream<Item = Result<T, E>> + 'static,
    E: Into<Error> + 'static,
{
    target.shared.clone().spawn_shown(async move {
        let mut error = None;
        let flowing = AssertUnwindSafe(follow(&target, &mut error, open)).catch_unwind();
        match flowing.await {
            Ok(()) => target.note(Level::Info, "its stream has ended"),
            Err(panic) => target.error(&mut error, panic_text(&*panic)),
        }
    })
}

async fn follow<T, S, E>(target: &Target, error: &mut Option<String>, open: impl FnOnce() -> S)
where
    T: Watchable,
    S: Stream<Item = Result<T, E>>,
    E: Into<Error>,
{
    let mut stream = pin!(open());
    loop {
        let mut newest = None;
        let mut failure = None;
        let more = poll_fn(|cx| {
            for _ in 0..BURST {
                // Each poll catches its own panic, so that values received before it are kept.
                let next = catch_unwind(AssertUnwindSafe(|| {
                    let next = stream.as_mut().poll_next(cx);
                    next.map(|item| item.map(|item| item.map_err(text)))
                }));
                let next = match next {
                    Ok(next) => next,
                    Err(panic) => {
                        failure = Some(panic_text(&*panic));
                        return Poll::Ready(false);
                    }
                };
                match next {
                    Poll::Ready(Some(Ok(value))) => (newest, failure) = (Some(value), None),
                    Poll::Ready(Some(Err(error))) => failure = Some(error),
                    Poll::Ready(None) => return Poll::Ready(false),
                    Poll::Pending if newest.is_none() && failure.is_none() => {
                        return Poll::Pending;
                    }
                    Poll::Pending => break,
                }
            }
            Poll::Ready(true)
        })
        .await;
        if let Some(value) = newest {
            *error = None;
            target.value(Arc::new(value));
        }
        if let Some(failure) = failure {
            target.error(error, failure);
        }
        if !more {
            return;
        }
        // A stream that never waits must not keep runs from beginning.
        tokio::task::yield_now().await;
    }
}

/// Returns an error's text. Runs the user's code for it, so call this only where panics are caught.
fn text(error: impl Into<Error>) -> String {
    error.into().to_string()
}

impl Target {
    /// Waits until the source is to look next, and shows that time meanwhile.
    async fn sleep_until(&self, at: Instant) {
        self.show_due(at);
        sleep_until(at).await;
        self.var.set_due(None);
    }

    fn show_due(&self, at: Instant) {
        self.var.set_due(Some(self.shared.clock.ms_at(at)));
    }

    fn value<T: Watchable>(&self, value: Arc<T>) {
        let at = self.shared.clock.wall();
        self.var.offer(value, at, &self.shared.inbox);
    }

    /// Shows that the last error of the source is over.
    fn well(&self) {
        let at = self.shared.clock.wall();
        self.var.offer_error_over(at, &self.shared.inbox);
    }

    /// Shows an error, and logs it unless it repeats the last one.
    fn error(&self, last: &mut Option<String>, text: String) {
        if last.as_ref() != Some(&text) {
            self.note(Level::Warn, &text);
        }
        let at = self.shared.clock.wall();
        let error = Arc::from(text.as_str());
        self.var.offer_error(error, at, &self.shared.inbox);
        *last = Some(text);
    }

    fn note(&self, level: Level, text: &str) {
        let message = format!("{}: {text}", self.var.name);
        self.shared.note(level, LogKind::WatchError, 0, &message);
    }
}

/// Does a user's work within a time limit. A panic becomes an error.
async fn guarded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panic_text(&*panic)),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// Returns `every` times `count`, at most `u64::MAX` nanoseconds.
pub(crate) fn times(every: Duration, count: u64) -> Duration {
    let nanos = every.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns how many whole intervals fit in `elapsed`.
fn passed(elapsed: Duration, every: Duration) -> u64 {
    let count = elapsed.as_nanos() / every.as_nanos().max(1);
    u64::try_from(count).unwrap_or(u64::MAX)
}
