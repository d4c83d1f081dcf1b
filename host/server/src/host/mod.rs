//! Everything that the API can ask of a host.

mod create;
mod error;
mod permits;
mod ready;
mod recent;
mod room;
mod state_copy;

use std::{sync::Arc, time::Duration};

use hersh_base::{
    detached::run_detached, right::Right, surroundings::Surroundings, turns::TurnQueue,
};
use hersh_journal::{Journal, JournalError};
use hersh_machine::driver::{self, Clock};
use hersh_program::{
    CommandError as ProgramError, Event, InstanceId, InstanceNumber, Program, ProgramId, Refusal,
    State, UserId,
};
use hersh_proxy::{Proxy, Upstream, io_threads};
use hersh_storage::{Storage, output::LogStore};
use tokio::{sync::Semaphore, task::JoinError};

pub(crate) use self::create::NewProgram;
pub(crate) use self::error::{CommandError, CreateError, QuotaUnknown, ReplaceError};
pub(crate) use self::permits::AllPermits;
pub(crate) use self::ready::Unready;
pub(crate) use self::recent::Recent;
pub(crate) use self::state_copy::{CopyError, PAUSES_MAX};
pub(crate) use crate::programs::Entry;
use crate::{
    auth::{Accounts, Caller, Grant, Throttle},
    effects::{Effects, probes::Probes},
    idempotency::Claims,
    metrics::{MeasuredEffects, Metrics},
    programs::{
        Registry,
        admission::{self, Admission, Usage},
        last_reading::Reading,
    },
    space::Space,
    words,
};
use hersh_sandbox::{Builder, Runtime, Spec, Unavailable};

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

/// A host. Clones are the same host.
#[derive(Clone)]
pub(crate) struct Host(Arc<Parts>);

/// The parts of a host.
pub(crate) struct Parts {
    pub(crate) storage: Storage,
    pub(crate) journal: Journal,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) builder: Arc<dyn Builder>,
    pub(crate) output: LogStore,
    pub(crate) registry: Arc<Registry>,
    pub(crate) effects: Arc<MeasuredEffects<Effects>>,
    pub(crate) metrics: Metrics,
    pub(crate) accounts: Accounts,
    pub(crate) throttle: Throttle,
    pub(crate) admission: Admission,
    pub(crate) claims: Claims,
    pub(crate) proxy: Proxy,
    pub(crate) probes: Probes,
    pub(crate) permits: AllPermits,
    pub(crate) surroundings: Surroundings,
    pub(crate) space: Space,
    pub(crate) build_queue: TurnQueue,
    pub(crate) engine_check: Recent<Result<(), Unavailable>>,
    pub(crate) journal_check: Recent<Result<(), JournalError>>,
    /// The permits to pause a program for a copy, [`state_copy::PAUSES_MAX`] in all. Each paused program
    /// holds one.
    pub(crate) pauses: Semaphore,
}

impl Host {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.0.claims
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Returns the output of programs, to read and to follow, across their instances.
    pub(crate) fn output(&self) -> &LogStore {
        &self.0.output
    }

    pub(crate) fn builder(&self) -> &dyn Builder {
        &*self.0.builder
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.0.runtime
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// Returns what readiness probes see right now.
    pub(crate) fn probes(&self) -> &Probes {
        &self.0.probes
    }

    /// Returns the permits for the threads and memory that clients may hold.
    pub(crate) fn permits(&self) -> &AllPermits {
        &self.0.permits
    }

    pub(crate) fn build_queue(&self) -> &TurnQueue {
        &self.0.build_queue
    }

    pub(crate) fn space(&self) -> &Space {
        &self.0.space
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn effects(&self) -> Arc<MeasuredEffects<Effects>> {
        Arc::clone(&self.0.effects)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Does blocking work on a thread made for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Host) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let host = self.clone();
        self.0.surroundings.blocking(move || work(&host)).await
    }

    /// Returns what an instance uses, as of at most a second ago.
    ///
    /// # Errors
    /// [`Unavailable`] as the engine says.
    pub(crate) async fn reading(&self, entry: &Entry, instance: &InstanceId) -> Reading {
        let runtime = Arc::clone(&self.0.runtime);
        let last = entry.last_reading();
        last.get(runtime, self.surroundings(), instance).await
    }

    /// Returns the compose file of the current instance, or of the next one; `None` before the first build.
    pub(crate) fn compose_file(&self, entry: &Entry) -> Option<String> {
        entry.supervisor().with_state(|program| {
            let image = program.run_image()?;
            let instance = InstanceId {
                program: program.id.clone(),
                number: InstanceNumber(program.instances.unwrap_or_default()),
            };
            let runtime = self.runtime();
            let spec = Spec::new(&instance, image, program.run_manifest(), runtime.kernel());
            Some(runtime.explain(&spec))
        })
    }

    /// Returns the source of this host's time and randomness.
    pub(crate) fn surroundings(&self) -> Surroundings {
        self.0.surroundings.clone()
    }

    /// Returns the time, milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.surroundings.now_ms()
    }

    /// Returns the program if `caller` may see it. For any other caller it does not exist.
    ///
    /// # Errors
    /// [`CommandError::NotFound`].
    pub(crate) fn get(&self, caller: &Caller, id: &ProgramId) -> Result<Arc<Entry>, CommandError> {
        self.0
            .registry
            .get(id)
            .filter(|entry| caller.sees(entry.owner()))
            .ok_or_else(|| CommandError::NotFound(id.clone()))
    }

    /// Returns every program, by id and without regard to owners: for the host's own use.
    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        self.0.registry.list()
    }

    /// Returns what the programs of `owner` ask for together.
    pub(crate) fn usage(&self, owner: &UserId) -> Usage {
        admission::usage(&self.0.registry, owner, None)
    }

    /// Gives a command to a program. The command is durable when this returns; with `wait`, the program has
    /// settled too.
    ///
    /// # Errors
    /// [`CommandError`]. The program was not asked then, unless the error is about waiting.
    pub(crate) async fn command(
        &self,
        entry: &Arc<Entry>,
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

    async fn give(&self, entry: &Entry, command: Command) -> Result<Outcome, CommandError> {
        match command {
            Command::Start => self.send_if_room(entry, Event::UserStartRequested).await,
            Command::Restart => self.send_if_room(entry, Event::UserRestartRequested).await,
            Command::Stop => self.send(entry, Event::UserStopRequested).await,
            Command::Delete => {
                let _alone = entry.replacing().await;
                self.send(entry, Event::UserDeleteRequested).await
            }
        }
    }

    /// Sends an event that starts the program, if its owner's quota has room for it.
    async fn send_if_room(&self, entry: &Entry, event: Event) -> Result<Outcome, CommandError> {
        let quota = self.quota(entry.owner())?;
        let _turn = self.turn(entry.owner(), &quota).await;
        self.room_for(entry, None, &quota)?;
        self.clear_build_log(entry).await;
        self.send(entry, event).await
    }

    /// Removes the log of a failed build before the same tree is built again, so that a client that follows
    /// the new build is not told of the failed one.
    async fn clear_build_log(&self, entry: &Entry) {
        let Some((id, build)) = entry.unbuilt() else {
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

    /// Returns the grant of `caller`. Once it no longer holds, everything that the caller opened ends.
    pub(crate) fn grant(&self, caller: Caller) -> Grant {
        Grant::new(self.0.accounts.clone(), self.surroundings(), caller)
    }

    /// Waits until nothing is under way in the program, at most for `wait`, and returns it as it
    /// was then. A program that is removed has settled once it is forgotten.
    pub(crate) async fn settle(
        &self,
        entry: &Entry,
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

    async fn send(&self, entry: &Entry, event: Event) -> Result<Outcome, CommandError> {
        let right = Right::carried().map(|right| Arc::new(right) as driver::Right);
        match entry.supervisor().call_by(event, right).await {
            Ok(()) => Ok(Outcome::Accepted),
            Err(ProgramError::Refused(Refusal::Already { .. })) => Ok(Outcome::Already),
            Err(ProgramError::Refused(refusal @ Refusal::BeingRemoved)) => {
                Err(CommandError::Refused {
                    refusal,
                    state: entry.state_name(),
                })
            }
            Err(ProgramError::QueueFull) => Err(CommandError::QueueFull),
            Err(ProgramError::Stopped) => Err(over(entry)),
            Err(ProgramError::Journal(error)) => Err(error.into()),
        }
    }

    /// Returns the container that answers for the program right now; `None` unless the program is Ready.
    pub(crate) async fn upstream(
        &self,
        entry: &Arc<Entry>,
    ) -> Result<Option<Arc<Upstream>>, Unavailable> {
        if let Some(upstream) = entry.upstream() {
            return Ok(Some(upstream));
        }
        let (host, entry) = (self.clone(), Arc::clone(entry));
        // Looked up outside the I/O thread, since what begins there, such as a connection to the engine,
        // outlives that thread.
        let finding = async move { host.find_upstream(&entry).await };
        Box::pin(io_threads::run_on_main(finding)).await
    }

    async fn find_upstream(&self, entry: &Entry) -> Result<Option<Arc<Upstream>>, Unavailable> {
        let ready = |program: &Program| {
            let container = program.state.container()?.clone();
            Some((program.ready_instance()?, container))
        };
        let Some((instance, container)) = entry.supervisor().with_state(ready) else {
            return Ok(None);
        };
        let endpoint = self.0.runtime.endpoint(&instance).await?;
        Ok(endpoint.and_then(|endpoint| entry.adopt(container, endpoint)))
    }
}

/// Checks that a program that was to be removed and has settled is gone.
fn removed(entry: &Entry, settled: &Program) -> Result<(), CommandError> {
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
fn over(entry: &Entry) -> CommandError {
    let is_removed = |program: &Program| matches!(program.state, State::Removed);
    if entry.supervisor().with_state(is_removed) {
        CommandError::NotFound(entry.id())
    } else {
        CommandError::ShuttingDown
    }
}
