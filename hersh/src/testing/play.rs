//! A whole watcher in virtual time.

use std::time::Duration;

use tokio::task::LocalSet;

use super::{BEGINNING, paused};
use crate::base::clock::Clock;
use crate::base::panics::discard;
use crate::watcher::finish;
use crate::{Builder, Context, Ending, Error, Watcher};

/// How long a watcher may go on after its script, virtual time.
const AFTERMATH: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a whole watcher in virtual time, beside a script that holds its handle. Returns how the
/// watcher ended. A watcher that is still up a day after the script's end is asked to stop. The
/// watcher's API, if it has one, is not served.
///
/// ```
/// use std::time::Duration;
///
/// use hersh::{Context, Watcher, testing};
///
/// let always_fails = async |_: &mut Context| Err(hersh::Error::msg("no"));
/// let ending = testing::play(Watcher::builder("test"), always_fails, async |watcher| {
///     testing::pass(Duration::from_secs(55)).await;
///     assert_eq!(watcher.status().consecutive_failures, 4);
/// });
/// assert_eq!(ending.kind, hersh::EndKind::Crashed);
/// ```
///
/// # Panics
/// When the watcher cannot start, the script panics, or no runtime can be made, as inside another
/// one: use it in a plain `#[test]`.
pub fn play<F, E>(builder: Builder, managed: F, script: impl AsyncFnOnce(&Watcher)) -> Ending
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    let local = LocalSet::new();
    local.block_on(&paused(), play_here(builder, managed, script))
}

/// Lets virtual time pass in the script of [`play`]: what is due meanwhile happens.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Does what [`play`] does on the current runtime, whose time should be paused, inside a
/// `LocalSet`.
pub(crate) async fn play_here<F, E>(
    builder: Builder,
    managed: F,
    script: impl AsyncFnOnce(&Watcher),
) -> Ending
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    let beginning_ms = u64::try_from(BEGINNING.as_millis()).unwrap_or_default();
    let checked = builder.check();
    let prepared = match checked.and_then(|()| builder.prepare(Clock::paused(beginning_ms))) {
        Ok(prepared) => prepared,
        Err(error) => panic!("the watcher cannot start: {error}"),
    };
    let shared = prepared.shared.clone();
    let watcher = Watcher::new(shared.clone());
    let drive = async {
        let mut runner = prepared.runner(managed);
        let ending = runner.drive().await;
        discard(runner);
        finish(&shared, Ok(ending.clone()));
        ending
    };
    let script = async {
        script(&watcher).await;
        // The function may still end the watcher by itself, but the wait for that is bounded.
        let ended = tokio::time::timeout(AFTERMATH, watcher.wait()).await;
        if ended.is_err() {
            watcher.stop("the script is over");
        }
    };
    let (ending, ()) = tokio::join!(drive, script);
    ending
}
