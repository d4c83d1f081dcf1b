//! Commands to a program: given durably, and waited for.

use std::{sync::Arc, time::Duration};

use hersh_base::{detached::run_detached, right::Right};
use hersh_machine::driver;
use hersh_program::{CommandError as ProgramError, Event, Program, Refusal, State};

use super::{CommandError, Host, ProgramEntry};
use crate::words;

/// A command that a user can give to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Start,
    Stop,
    Restart,
    Delete,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command is durable and will be carried out.
    Accepted,
    /// There is nothing to do.
    Already,
}

impl Host {
    /// Gives a command to a program. The command is durable when this returns; with `wait`, the program has
    /// settled too.
    ///
    /// # Errors
    /// [`CommandError`]. The program was not asked then, unless the error is about waiting.
    pub(crate) async fn command(
        &self,
        entry: &Arc<ProgramEntry>,
        command: Command,
        wait: Option<Duration>,
    ) -> Result<Outcome, CommandError> {
        let (host, of) = (self.clone(), Arc::clone(entry));
        // Detached, since a client that hangs up would otherwise end its user's turn early: the user's next
        // change would not see this command.
        let outcome = run_detached(async move { host.give(&of, command).await }).await?;
        if let Some(wait) = wait {
            let settled = self.settle(entry, wait).await?;
            if command == Command::Delete {
                removed(entry, &settled)?;
            }
        }
        Ok(outcome)
    }

    /// Waits until nothing is under way in the program, at most for `wait`, and returns it as it
    /// was then. A program that is removed has settled once it is forgotten.
    pub(crate) async fn settle(
        &self,
        entry: &ProgramEntry,
        wait: Duration,
    ) -> Result<Program, CommandError> {
        let settled = async {
            let program = entry.supervisor().settled().await;
            if matches!(program.state, State::Removed) {
                entry.gone().cancelled().await;
            }
            program
        };
        tokio::time::timeout(wait, settled)
            .await
            .map_err(|_| CommandError::WaitTimedOut {
                state: entry.state_name(),
            })
    }

    async fn give(&self, entry: &ProgramEntry, command: Command) -> Result<Outcome, CommandError> {
        match command {
            Command::Start => {
                self.send_within_quota(entry, Event::UserStartRequested)
                    .await
            }
            Command::Restart => {
                self.send_within_quota(entry, Event::UserRestartRequested)
                    .await
            }
            Command::Stop => self.send(entry, Event::UserStopRequested).await,
            Command::Delete => {
                let _alone = entry.replacing().await;
                self.send(entry, Event::UserDeleteRequested).await
            }
        }
    }

    /// Sends an event that starts the program, if its owner's quota has room for it.
    async fn send_within_quota(
        &self,
        entry: &ProgramEntry,
        event: Event,
    ) -> Result<Outcome, CommandError> {
        let quota = self.quota(entry.owner())?;
        let _turn = self.turn(entry.owner(), &quota).await;
        self.check_quota(entry, None, &quota)?;
        self.clear_build_log(entry).await;
        self.send(entry, event).await
    }

    /// Removes the log of a failed build before the same tree is built again, so that a client that follows
    /// the new build is not told of the failed one.
    async fn clear_build_log(&self, entry: &ProgramEntry) {
        let Some((id, build)) = entry.unbuilt_source() else {
            return;
        };
        // `flush` also checks that the caller's right is not revoked: a caller who may not start the program
        // may not remove its log either.
        if self.journal().flush().await.is_err() {
            return;
        }
        let path = self.storage().build_log_path(&id, &build);
        let removed = self.blocking(move |_| std::fs::remove_file(path)).await;
        if let Ok(Err(error)) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(program = %id, %error, "the log of an earlier build stays");
        }
    }

    /// Sends an event to the program on behalf of whoever asks.
    pub(super) async fn send(
        &self,
        entry: &ProgramEntry,
        event: Event,
    ) -> Result<Outcome, CommandError> {
        let right = Right::carried().map(|right| Arc::new(right) as driver::Right);
        match entry.supervisor().call_by(event, right).await {
            Ok(()) => Ok(Outcome::Accepted),
            Err(ProgramError::Refused(Refusal::Already { .. })) => Ok(Outcome::Already),
            Err(ProgramError::Refused(
                refusal @ (Refusal::BeingRemoved | Refusal::NoSuchRevision { .. }),
            )) => Err(CommandError::Refused {
                refusal,
                state: entry.state_name(),
            }),
            Err(ProgramError::QueueFull) => Err(CommandError::QueueFull),
            Err(ProgramError::Stopped) => Err(over(entry)),
            Err(ProgramError::Journal(error)) => Err(error.into()),
        }
    }
}

/// Checks that a program that was to be removed and has settled is gone.
fn removed(entry: &ProgramEntry, settled: &Program) -> Result<(), CommandError> {
    let cause = match &settled.state {
        State::Removed => return Ok(()),
        State::Error(failed) => Some(Arc::clone(&failed.cause)),
        // The removal failed and something else was asked for since, or the host is ending.
        State::Created
        | State::Building(_)
        | State::Starting(_)
        | State::Ready(_)
        | State::Stopping(_)
        | State::Stopped(_) => None,
    };
    if cause.is_none() && entry.supervisor().is_stopped() {
        return Err(CommandError::ShuttingDown);
    }
    let state = words::state_name(&settled.state);
    Err(CommandError::NotRemoved { cause, state })
}

/// Returns why a program is not supervised any more: it is removed, or the host ends.
fn over(entry: &ProgramEntry) -> CommandError {
    let is_removed = |program: &Program| matches!(program.state, State::Removed);
    if entry.supervisor().with_state(is_removed) {
        CommandError::NotFound(entry.id())
    } else {
        CommandError::ShuttingDown
    }
}
