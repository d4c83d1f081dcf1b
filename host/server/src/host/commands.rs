//! Commands to a program: given durably, and waited for.

use std::{sync::Arc, time::Duration};

use hersh_base::{detached::run_detached, right::Right};
use hersh_machine::driver;
use hersh_program::{CommandError as ProgramError, Event, Program, Refusal, RevisionNumber, State};

use super::{CommandError, Host, ProgramEntry, quota::QuotaChange};
use crate::words;

/// A command that a user can give to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Start,
    Stop,
    Restart,
    /// Builds the newest revision and does not start it.
    Build,
    /// Starts a revision in place of the one that runs or is wanted.
    RollBack(RevisionNumber),
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
                let event = Event::UserStartRequested;
                self.send_if_room(entry, None, event).await
            }
            Command::Restart => {
                let event = Event::UserRestartRequested;
                self.send_if_room(entry, None, event).await
            }
            Command::Build => {
                // A build that is refused leaves the log of the last one alone.
                if entry.supervisor().with_state(Program::may_be_built) {
                    self.clear_build_log(entry, None).await;
                }
                self.send(entry, Event::UserBuildRequested).await
            }
            Command::RollBack(revision) => {
                let event = Event::UserRollBackRequested { revision };
                self.send_if_room(entry, Some(revision), event).await
            }
            Command::Stop => self.send(entry, Event::UserStopRequested).await,
            Command::Delete => {
                let _alone = entry.replacing().await;
                self.send(entry, Event::UserDeleteRequested).await
            }
        }
    }

    /// Returns the revision that a roll-back goes to: `asked`, or the one that ran before.
    ///
    /// # Errors
    /// [`CommandError`] when there is none, and while the program is being removed.
    pub(crate) fn roll_back_target(
        &self,
        entry: &ProgramEntry,
        asked: Option<RevisionNumber>,
    ) -> Result<RevisionNumber, CommandError> {
        let refused = |refusal| CommandError::Refused {
            refusal,
            state: entry.state_name(),
        };
        if entry.is_being_removed() {
            return Err(refused(Refusal::BeingRemoved));
        }
        let Some(revision) = asked else {
            let previous = entry.supervisor().with_state(Program::previous_revision);
            return previous.ok_or_else(|| CommandError::NoEarlierRevision(entry.id()));
        };
        let is_kept = |program: &Program| {
            let revisions = program.revisions.as_ref();
            revisions.is_some_and(|revisions| revisions.get(revision).is_some())
        };
        match entry.supervisor().with_state(is_kept) {
            true => Ok(revision),
            false => Err(refused(Refusal::NoSuchRevision { revision })),
        }
    }

    /// Sends an event that starts a revision of the program, or the wanted one, if the owner's quota has room
    /// for it.
    async fn send_if_room(
        &self,
        entry: &ProgramEntry,
        revision: Option<RevisionNumber>,
        event: Event,
    ) -> Result<Outcome, CommandError> {
        let quota = self.quota(entry.owner())?;
        let _turn = self.turn(entry.owner(), &quota).await;
        self.check_quota(entry, QuotaChange::Start(revision), &quota)?;
        self.clear_build_log(entry, revision).await;
        self.send(entry, event).await
    }

    /// Removes the log of a failed build before the same tree is built again, so that a client that follows
    /// the new build is not told of the failed one.
    async fn clear_build_log(&self, entry: &ProgramEntry, revision: Option<RevisionNumber>) {
        let Some((id, build)) = entry.unbuilt(revision) else {
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
                refusal @ (Refusal::BeingRemoved
                | Refusal::Busy { .. }
                | Refusal::NoSuchRevision { .. }),
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
