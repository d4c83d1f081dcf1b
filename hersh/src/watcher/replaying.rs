//! Replays and comparisons of journals, as functions and as a program's way to run.

use std::path::Path;

use super::exit_codes::{EXIT_DIVERGED, EXIT_NOT_STARTED};
use crate::shared::Level;
use crate::{Comparison, Context, Error, ReplayError, Replayed, Watcher};

/// Replays a journal with this managed function, as fast as it can, and compares every run:
/// its outcome, what it changed in the durable context, what it logged, which effects it asked for, how many
/// random numbers it drew. No source runs and no time passes: runs that wait for a timer wait for nothing.
///
/// `journal` is a folder that a watcher recorded to ([`crate::Builder::journal_dir`]); its newest
/// session is replayed. Or `journal` is one part of such a folder; its session is replayed from
/// that part on. [`Context::env`] shows this process's environment.
///
/// Effects are not acted on: their outcomes come from the journal. Whatever a run does to the world by itself,
/// a replay does again: ask for effects instead ([`Context::effects`]). Time in a
/// replay is virtual: it jumps to the next timer, so a request to the world may time out at once.
///
/// A replay from a later part agrees only if the function keeps everything from run to run in the
/// durable context, and nothing in variables that its closure captured.
///
/// ```no_run
/// # async fn managed(_: &mut hersh::Context) -> hersh::Result { Ok(()) }
/// let replayed = hersh::replay("/state/journal", managed)?;
/// println!("{} runs, all as recorded", replayed.runs);
/// # Ok::<(), hersh::ReplayError>(())
/// ```
///
/// # Errors
/// [`ReplayError::Diverged`] at the first run that differs: its number, what woke it, what was
/// recorded, what was seen. [`ReplayError::Unreadable`] when there is no journal, or a damaged one.
pub fn replay<F, E>(journal: impl AsRef<Path>, managed: F) -> Result<Replayed, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    Watcher::from_env().replay(journal, managed)
}

/// Compares a changed function with a journal: makes every recorded run with the function as it is now, goes on
/// after differences with what it did, and sums up. This is a back-test: the function takes in what was recorded
/// (messages, values, times, outcomes of effects), whatever it asked for itself.
///
/// Everything else is as in [`replay`].
///
/// ```no_run
/// # async fn managed(_: &mut hersh::Context) -> hersh::Result { Ok(()) }
/// let compared = hersh::compare("/state/journal", managed)?;
/// for found in &compared.differences {
///     println!("{found}");
/// }
/// for (effect, counts) in &compared.asked {
///     println!("{effect}: {} then, {} now", counts.recorded, counts.now);
/// }
/// # Ok::<(), hersh::ReplayError>(())
/// ```
///
/// # Errors
/// [`ReplayError::Unreadable`] when there is no journal, or a damaged one. Differences are no error.
pub fn compare<F, E>(journal: impl AsRef<Path>, managed: F) -> Result<Comparison, ReplayError>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    Watcher::from_env().compare(journal, managed)
}

/// Returns what a replay says at its end, and with which exit code and level.
pub(super) fn replay_exit(result: Result<Replayed, ReplayError>) -> (u8, Level, String) {
    match result {
        Ok(replayed) => {
            let runs = replayed.runs;
            let torn = match replayed.torn_bytes {
                0 => String::new(),
                bytes => format!("; a crash left {bytes} bytes of one more entry"),
            };
            (
                0,
                Level::Info,
                format!("replayed {runs} runs, all as recorded{torn}"),
            )
        }
        Err(error @ ReplayError::Diverged(_)) => (EXIT_DIVERGED, Level::Error, error.to_string()),
        Err(error @ (ReplayError::Unreadable { .. } | ReplayError::Thread { .. })) => {
            (EXIT_NOT_STARTED, Level::Error, error.to_string())
        }
    }
}

/// Returns what a comparison says at its end, and with which exit code.
pub(super) fn compare_exit(result: Result<Comparison, ReplayError>) -> (u8, Vec<(Level, String)>) {
    let compared = match result {
        Ok(compared) => compared,
        Err(error) => return (EXIT_NOT_STARTED, vec![(Level::Error, error.to_string())]),
    };
    let differences = compared.differences.iter();
    let mut lines: Vec<_> = differences
        .map(|found| (Level::Warn, found.to_string()))
        .collect();
    for (effect, counts) in &compared.asked {
        let (recorded, now) = (counts.recorded, counts.now);
        let line = format!("effects {effect}: {recorded} were asked for, {now} are now");
        lines.push((Level::Info, line));
    }
    for (key, now) in &compared.context {
        let recorded = compared.recorded_context.get(key);
        if recorded != Some(now) {
            let recorded = recorded.map_or("nothing".into(), ToString::to_string);
            lines.push((Level::Info, format!("{key}: was {recorded}, is {now}")));
        }
    }
    for key in compared.recorded_context.keys() {
        if !compared.context.contains_key(key) {
            lines.push((Level::Info, format!("{key}: is there no more")));
        }
    }
    let (runs, differing, failed) = (compared.runs, compared.differing, compared.failed);
    let line = format!(
        "{differing} of {runs} runs differ; {} failed then, {} now",
        failed.recorded, failed.now
    );
    lines.push((Level::Info, line));
    let code = if differing == 0 { 0 } else { EXIT_DIVERGED };
    (code, lines)
}
