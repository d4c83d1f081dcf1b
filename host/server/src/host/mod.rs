//! Everything that the API can ask of a host.

mod check_ready;
mod client_permits;
mod commands;
mod create;
mod error;
mod quota;
mod recent_answer;
mod state_copy;

use std::sync::Arc;

use hersh_base::{surroundings::Surroundings, turns::TurnQueue};
use hersh_journal::{Journal, JournalError};
use hersh_machine::driver::Clock;
use hersh_program::{ContainerId, InstanceId, InstanceNumber, Program, ProgramId, UserId};
use hersh_proxy::{Proxy, Upstream, io_threads};
use hersh_storage::{Storage, output::LogStore};
use tokio::{sync::Semaphore, task::JoinError};

pub(crate) use self::check_ready::ReadinessError;
pub(crate) use self::client_permits::ClientPermits;
pub(crate) use self::commands::{Command, Outcome};
pub(crate) use self::create::{NewProgram, NewRevision};
pub(crate) use self::error::{CommandError, CreateError, QuotaUnknown, ReplaceError};
pub(crate) use self::recent_answer::RecentAnswer;
pub(crate) use self::state_copy::{CopyError, PAUSES_MAX};
pub(crate) use crate::programs::ProgramEntry;
use crate::{
    auth::{Accounts, Caller, Grant, Throttle},
    disks::Disks,
    effects::{Effects, probes::Probes},
    idempotency::Claims,
    metrics::{MeasuredEffects, Metrics},
    programs::{
        Registry,
        admission::{self, Admission, Usage},
        last_reading::Reading,
    },
};
use hersh_sandbox::{Builder, Runtime, Spec, Unavailable};

/// A host. Clones are the same host.
#[derive(Clone)]
pub(crate) struct Host(Arc<HostParts>);

/// The parts of a host.
pub(crate) struct HostParts {
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
    pub(crate) permits: ClientPermits,
    pub(crate) surroundings: Surroundings,
    pub(crate) disks: Disks,
    pub(crate) build_queue: TurnQueue,
    pub(crate) engine_check: RecentAnswer<Result<(), Unavailable>>,
    pub(crate) journal_check: RecentAnswer<Result<(), JournalError>>,
    /// The permits to pause a program for a copy, [`state_copy::PAUSES_MAX`] in all. Each paused program
    /// holds one.
    pub(crate) pauses: Semaphore,
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Self {
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
    pub(crate) fn permits(&self) -> &ClientPermits {
        &self.0.permits
    }

    pub(crate) fn build_queue(&self) -> &TurnQueue {
        &self.0.build_queue
    }

    pub(crate) fn disks(&self) -> &Disks {
        &self.0.disks
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
    /// [`Unavailable`] with what the engine said.
    pub(crate) async fn instance_stats(
        &self,
        entry: &ProgramEntry,
        instance: &InstanceId,
    ) -> Reading {
        let runtime = Arc::clone(&self.0.runtime);
        let last = entry.last_reading();
        last.get(runtime, self.surroundings(), instance).await
    }

    /// Returns the compose file of the current instance, or of the next one; `None` before the first build.
    pub(crate) fn compose_file(&self, entry: &ProgramEntry) -> Option<String> {
        entry.supervisor().with_state(|program| {
            let image = program.current_image()?;
            let instance = InstanceId {
                program: program.id.clone(),
                number: InstanceNumber(program.instances.unwrap_or_default()),
            };
            let runtime = self.runtime();
            let spec = Spec::new(
                &instance,
                image,
                program.current_manifest(),
                runtime.kernel(),
            );
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
    pub(crate) fn get(
        &self,
        caller: &Caller,
        id: &ProgramId,
    ) -> Result<Arc<ProgramEntry>, CommandError> {
        self.0
            .registry
            .get(id)
            .filter(|entry| caller.sees(entry.owner()))
            .ok_or_else(|| CommandError::NotFound(id.clone()))
    }

    /// Returns every program, by id and without regard to owners: for the host's own use.
    pub(crate) fn list(&self) -> Vec<Arc<ProgramEntry>> {
        self.0.registry.list()
    }

    /// Returns what the programs of `owner` ask for together.
    pub(crate) fn usage(&self, owner: &UserId) -> Usage {
        admission::usage(&self.0.registry, owner, None, self.now_ms())
    }

    /// Returns the grant of `caller`. Once it no longer holds, everything that the caller opened ends.
    pub(crate) fn grant(&self, caller: Caller) -> Grant {
        Grant::new(self.0.accounts.clone(), self.surroundings(), caller)
    }

    /// Returns the container that answers for the program right now; `None` unless the program is Ready.
    pub(crate) async fn upstream(
        &self,
        entry: &Arc<ProgramEntry>,
    ) -> Result<Option<Arc<Upstream>>, Unavailable> {
        if let Some(upstream) = entry.upstream() {
            return Ok(Some(upstream));
        }
        let (host, entry) = (self.clone(), Arc::clone(entry));
        // Looked up on the main runtime: the lookup may open a connection to the engine, which must outlive
        // this I/O thread.
        let finding = async move { host.find_upstream(&entry).await };
        Box::pin(io_threads::run_on_main(finding)).await
    }

    async fn find_upstream(
        &self,
        entry: &ProgramEntry,
    ) -> Result<Option<Arc<Upstream>>, Unavailable> {
        let ready = |program: &Program| {
            let container = program.state.container()?.clone();
            Some((program.ready_instance()?, container))
        };
        let mut seen = entry.supervisor().with_state(ready);
        while let Some((instance, container)) = seen {
            let endpoint = self.0.runtime.endpoint(&instance).await?;
            let route = endpoint.and_then(|endpoint| entry.route_to(container.clone(), endpoint));
            if let Some(upstream) = route {
                return Ok(Some(upstream));
            }
            // Another instance may have taken its place during the look-up. That one is up, too.
            let is_other = |(_, now): &(InstanceId, ContainerId)| *now != container;
            seen = entry.supervisor().with_state(ready).filter(is_other);
        }
        Ok(None)
    }
}
