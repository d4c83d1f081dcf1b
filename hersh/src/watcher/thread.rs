//! The thread that owns the engine and all that runs beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::base::panics::{discard, panic_text};
use crate::run::WatcherParts;
use crate::shared::{Level, LogKind, Milestone, Shared};
use crate::{Context, EndKind, Ending, Error, StartError};

/// Starts the thread that owns the engine.
pub(super) async fn spawn_engine<F, E>(prepared: WatcherParts, managed: F) -> Result<(), StartError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    let shared = prepared.shared.clone();
    let (up, is_up) = oneshot::channel();
    let failed = |error: std::io::Error| StartError::Thread {
        error: error.to_string(),
    };
    std::thread::Builder::new()
        .name(format!("hersh-{}", shared.id))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Err(error) => drop(up.send(Err(error))),
                Ok(runtime) => {
                    if up.send(Ok(())).is_err() {
                        // The caller of the start is gone: nobody holds the watcher, so nobody
                        // would ever end it.
                        return;
                    }
                    let work = || run(&runtime, prepared, managed);
                    let ending = catch_unwind(AssertUnwindSafe(work));
                    // Sources end with the runtime; a blocking call that hangs must not hold up
                    // this thread.
                    runtime.shutdown_background();
                    finish(&shared, ending.map_err(|panic| panic_text(&*panic)));
                }
            }
        })
        .map_err(failed)?;
    match is_up.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed(std::io::Error::other("the thread ended at once"))),
    }
}

fn run<F, E>(runtime: &tokio::runtime::Runtime, prepared: WatcherParts, managed: F) -> Ending
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    // The runtime is left last: values that sources hold may need it when they are dropped.
    let _inside = runtime.enter();
    // Sources run on this thread too, so that the values they hold need not be `Send`.
    let sources = LocalSet::new();
    let mut runner = prepared.runner(managed);
    let ending = sources.block_on(runtime, runner.drive());
    discard(runner);
    discard(sources);
    ending
}

/// Shows the end of the watcher. This is the last thing that the engine's thread does.
pub(crate) fn finish(shared: &Shared, ending: Result<Ending, String>) {
    let ending = ending.unwrap_or_else(|panic| {
        let ending = engine_lost(&panic);
        let (level, kind) = (Level::Error, LogKind::Reduce);
        shared.note(level, kind, 0, &ending.to_string());
        ending
    });
    shared.keeper.abandon();
    shared.post_office.close();
    shared.inbox.clear();
    let failures = shared.status().consecutive_failures;
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    shared.publish(ending.kind.state(), failures, shared.clock.now_ms());
    shared.milestone.send_replace(Milestone::Ended(ending));
}

/// Returns the ending of a watcher whose engine's thread is gone.
pub(super) fn engine_lost(what: &str) -> Ending {
    let reason = format!("the engine's thread ended unexpectedly: {what}");
    Ending::new(EndKind::Crashed, reason)
}
