//! Waiting: for something that comes, but not for ever, and not when a person says stop.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The longest that anything but a build or a start may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A person, or a supervisor of this process, said stop.
#[derive(Debug)]
pub(crate) struct Interrupted;

/// Asks again and again until there is an answer.
///
/// # Errors
/// What was waited for, once [`PATIENCE`] is over; and any error of `ask`, at once.
pub(crate) async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => bail!("waited {} s in vain until {what}", PATIENCE.as_secs()),
    }
}

/// Hears Ctrl-C and SIGTERM, from [`Signals::listen`] on: one that comes while nothing waits for
/// it ends the next work.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen; from now on neither ends the process by itself.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Does `work` to its end, unless a signal comes first.
    ///
    /// # Errors
    /// [`Interrupted`]; `work` is dropped where it stood.
    pub(crate) async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Err(Interrupted),
            _ = self.terminate.recv() => Err(Interrupted),
            done = work => Ok(done),
        }
    }
}
