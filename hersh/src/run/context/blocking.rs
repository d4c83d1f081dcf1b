//! Work that blocks its thread, away from the engine's thread.

use crate::Error;
use crate::base::panics::panic_text;

/// Runs work that blocks (a long computation, a synchronous client) on a thread of its own and
/// waits for it without holding up the watcher: stop, time-outs and sources go on meanwhile.
///
/// What `work` finds must not depend on anything but what it is given, or a replay of the run
/// differs. A run that is given up leaves its thread to finish in the background, because no
/// thread can be ended from outside: give long work an end of its own.
///
/// ```
/// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
/// let primes = hersh::blocking(|| (2..20_000).filter(|n| (2..*n).all(|d| n % d != 0)).count());
/// cx.set("primes", &primes.await?)?;
/// # assert_eq!(cx.value("primes")?, Some(2_262));
/// # Ok(())
/// # });
/// ```
///
/// # Errors
/// When `work` panics: the text of the panic.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => Error::msg(format!("blocking work {}", panic_text(&*panic))),
        Err(error) => Error::from(error),
    })
}
