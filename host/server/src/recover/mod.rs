//! A host's start: every program in the journal is brought back, and every instance that none of them accounts
//! for is removed.
//!
//! ```text
//! journal ─► fold ─► runtime: list ─► orphans removed ─► supervisors resumed ─► exits observed
//! ```

mod orphans;

use std::sync::{Arc, atomic::AtomicU64};

use hersh_base::{
    surroundings::Surroundings,
    turns::{Owner, TurnQueue},
};
use hersh_journal::{Journal, JournalError, ProgramRow, StoredProgram};
use hersh_machine::driver::Config;
use hersh_program::{Cause, InstanceId, InstanceNumber, ProgramId, State, Supervisor, UserId};
use hersh_proxy::Proxy;
use hersh_storage::{Storage, StorageError, output::LogStore};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    auth::{Accounts, Throttle},
    disks::{Disks, FREE_BYTES_MIN},
    effects::{
        Effects, MEASURES_AT_ONCE, STARTS_AT_ONCE_PER_OWNER, STARTS_WAITING_MAX,
        builds::{BUILDS_AT_ONCE, BUILDS_WAITING_MAX, BuildOwner, Builds},
        drain::Drain,
        probes::Probes,
    },
    host::{ClientPermits, Host, HostParts, PAUSES_MAX, RecentAnswer},
    idempotency::Claims,
    metrics::{MeasuredEffects, Metrics},
    programs::{ProgramEntry, ProgramJournal, Registry, StateLog, admission::Admission},
    workers::{REMOVALS_QUEUED_MAX, Removals, Workers},
};
use hersh_sandbox::{Builder, Incarnation, InstanceEnd, Runtime, STARTS_AT_ONCE, Unavailable};

/// Why a host's programs could not be brought back. No program was resumed then.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal can't be read, or does not fit this version of the host.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The owner of a program in the journal can't be read.
    #[error(
        "the owner of program {program} in the journal can't be read: {message}; restore a backup"
    )]
    Owner {
        /// The program whose owner is not valid.
        program: ProgramId,
        /// What is wrong with the owner's name.
        message: String,
    },
    /// The folders can't be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] Unavailable),
    /// A worker thread died.
    #[error("start was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// The programs that a journal knows, each with its owner. They are read before anything is written, so that
/// a journal that this host refuses stays as it was.
pub(crate) struct StoredPrograms(Vec<(UserId, StoredProgram)>);

impl StoredPrograms {
    /// Reads the programs from the journal. Blocks on the disk.
    ///
    /// # Errors
    /// [`RecoverError::Journal`] and [`RecoverError::Owner`].
    pub(crate) fn read(journal: &Journal) -> Result<Self, RecoverError> {
        let stored = journal.load()?.into_iter();
        Ok(Self(stored.map(with_owner).collect::<Result<_, _>>()?))
    }

    /// Returns true if the journal knows no program.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts that a host is put together from.
pub(crate) struct HostInputs {
    pub(crate) programs: StoredPrograms,
    pub(crate) storage: Storage,
    pub(crate) journal: Journal,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) builder: Arc<dyn Builder>,
    pub(crate) output: LogStore,
    pub(crate) accounts: Accounts,
    pub(crate) surroundings: Surroundings,
    pub(crate) bounds: Bounds,
}

/// The bounds that a host's settings set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) builds_at_once: usize,
    pub(crate) disk_free_bytes_min: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            builds_at_once: BUILDS_AT_ONCE,
            disk_free_bytes_min: FREE_BYTES_MIN,
        }
    }
}

/// Puts a host together and brings its programs back. The workers go on until [`shut_down`].
pub(crate) async fn start_host(inputs: HostInputs) -> Result<(Host, Workers), RecoverError> {
    let HostInputs {
        programs,
        storage,
        journal,
        runtime,
        builder,
        output,
        accounts,
        surroundings,
        bounds,
    } = inputs;
    let registry = Arc::new(Registry::default());
    let disks = disks_of(&surroundings, &storage, &journal, &*runtime, bounds);
    let (removed, removals) = mpsc::channel(REMOVALS_QUEUED_MAX);
    // `Runtime::keep` begins before anything is resumed: instances that run already rely on it.
    let upkeep = tokio::spawn(runtime.keep());
    // Exits are watched before anything is resumed: otherwise an exit in between would be missed.
    let exits = watch_deaths(&*runtime, &registry);
    let build_queue = TurnQueue::new(bounds.builds_at_once, BUILDS_WAITING_MAX);
    let (metrics, probes) = (Metrics::new(journal.metrics()), Probes::default());
    let build_owner = build_owner_of(Arc::clone(&registry), accounts.clone());
    let effects = Effects {
        storage: storage.clone(),
        runtime: Arc::clone(&runtime),
        output: output.clone(),
        surroundings: surroundings.clone(),
        builds: builds_of(&storage, &builder, &build_queue, &disks, build_owner),
        measures: TurnQueue::new(MEASURES_AT_ONCE, STARTS_WAITING_MAX),
        starts: TurnQueue::new(STARTS_AT_ONCE, STARTS_WAITING_MAX),
        start_owner: start_owner_of(Arc::clone(&registry)),
        drain: drain_of(Arc::clone(&registry)),
        probes: probes.clone(),
        removed,
    };
    let host = Host::new(HostParts {
        storage,
        journal,
        runtime,
        builder,
        output,
        registry,
        effects: Arc::new(MeasuredEffects::new(effects, metrics.clone())),
        metrics,
        accounts,
        throttle: Throttle::default(),
        admission: Admission::default(),
        claims: Claims::default(),
        proxy: Proxy::default(),
        probes,
        permits: ClientPermits::default(),
        engine_check: RecentAnswer::default(),
        journal_check: RecentAnswer::default(),
        pauses: Semaphore::new(PAUSES_MAX as usize),
        surroundings,
        disks,
        build_queue,
    });
    let undeleted = recover(&host, programs).await?;
    let workers = Workers::spawn(&host, upkeep, exits, Removals::new(removals, undeleted));
    Ok((host, workers))
}

/// Returns the part of a host that builds images.
fn builds_of(
    storage: &Storage,
    builder: &Arc<dyn Builder>,
    queue: &TurnQueue,
    disks: &Disks,
    build_owner: Box<dyn Fn(&ProgramId) -> BuildOwner + Send + Sync>,
) -> Builds {
    Builds {
        storage: storage.clone(),
        builder: Arc::clone(builder),
        queue: queue.clone(),
        disks: disks.clone(),
        build_owner,
    }
}

/// Tells programs at once that a container died. Returns the events that say later how each container ended.
fn watch_deaths(runtime: &dyn Runtime, registry: &Arc<Registry>) -> mpsc::Receiver<InstanceEnd> {
    let registry = Arc::downgrade(registry);
    runtime.on_death(Box::new(move |instance, container| {
        let entry = registry.upgrade();
        let entry = entry.and_then(|all| all.get(&instance.program));
        if let Some(entry) = entry {
            entry.container_died(container);
        }
    }));
    runtime.events()
}

/// Returns the disks that a host writes to.
fn disks_of(
    surroundings: &Surroundings,
    storage: &Storage,
    journal: &Journal,
    runtime: &dyn Runtime,
    bounds: Bounds,
) -> Disks {
    Disks::new(
        surroundings.clone(),
        [storage.data_dir(), journal.folder()],
        runtime.folders(),
        bounds.disk_free_bytes_min,
    )
}

/// Returns a function that tells whom a program's builds are for, and how many of that user's builds may go
/// on at once.
fn build_owner_of(
    registry: Arc<Registry>,
    accounts: Accounts,
) -> Box<dyn Fn(&ProgramId) -> BuildOwner + Send + Sync> {
    Box::new(move |program| {
        let owner = registry.owner(program);
        let builds = owner
            .as_ref()
            .and_then(|owner| accounts.user(owner).ok()?.quota.builds);
        let owner = Owner {
            name: owner.map(|owner| owner.to_string()).unwrap_or_default(),
            at_once: builds.map_or(usize::MAX, |builds| {
                usize::try_from(builds).unwrap_or(usize::MAX)
            }),
        };
        BuildOwner {
            owner,
            incarnation: registry.incarnation(program),
        }
    })
}

/// Returns a function that tells whom a program's starts count for.
fn start_owner_of(registry: Arc<Registry>) -> Box<dyn Fn(&ProgramId) -> Owner + Send + Sync> {
    Box::new(move |program| {
        let owner = registry.owner(program);
        Owner {
            name: owner.map(|owner| owner.to_string()).unwrap_or_default(),
            at_once: STARTS_AT_ONCE_PER_OWNER,
        }
    })
}

/// Returns a function that lets the requests under way with an instance of a program end.
fn drain_of(registry: Arc<Registry>) -> Drain {
    Box::new(move |program, instance, patience| {
        let entry = registry.get(program);
        Box::pin(async move {
            if let Some(entry) = entry {
                entry.drain(instance, patience).await;
            }
        })
    })
}

/// Stops the supervisors of all programs, and the workers. Instances go on running.
pub(crate) fn shut_down(host: &Host, workers: &Workers) {
    for entry in host.list() {
        entry.supervisor().stop();
    }
    workers.stop();
}

/// Resumes every stored program without disturbing those that run. Returns the removed programs
/// whose rows the journal could not delete; their names stay reserved until it can.
async fn recover(
    host: &Host,
    StoredPrograms(stored): StoredPrograms,
) -> Result<Vec<(ProgramId, ProgramRow)>, RecoverError> {
    let (removed, living): (Vec<_>, Vec<_>) = stored
        .into_iter()
        .partition(|(_, stored)| matches!(stored.stepper.state().state, State::Removed));
    let mut undeleted = Vec::new();
    for (owner, stored) in removed {
        let id = stored.stepper.state().id.clone();
        if let Err(error) = host.journal().remove(stored.row).await {
            tracing::warn!(program = %id, %error, "a removed program could not be deleted from the journal; its name stays taken");
            host.registry().reserve(&id, &owner);
            undeleted.push((id, stored.row));
        }
    }
    let known = living.iter().map(|(_, stored)| stored.stepper.state());
    let mut left_behind = orphans::remove(host, known).await?;
    let programs = living.len();
    for (owner, stored) in living {
        let id = stored.stepper.state().id.clone();
        let program = id.clone();
        let paused = host.blocking(move |host| host.storage().read_paused(&program));
        let paused = paused.await??;
        take_state_back(host, &id, stored.stepper.state().instances).await?;
        let entry = Arc::new(resume(host, owner, stored, left_behind.remove(&id)));
        if let Some(instance) = paused {
            unpause(host, &entry, instance);
        }
        host.registry().insert(id, entry);
    }
    tracing::info!(programs, "recovered");
    Ok(undeleted)
}

/// Lets the program's next instance write to its state, if a newer journal than this one gave the state away.
/// Instances that this journal does not know are removed by now, or the program hears of them.
async fn take_state_back(
    host: &Host,
    id: &ProgramId,
    instances: Option<u64>,
) -> Result<(), RecoverError> {
    let newest = InstanceNumber(instances.unwrap_or_default());
    let id = id.clone();
    let taken = host.blocking(move |host| host.storage().take_state_back(&id, newest));
    Ok(taken.await??)
}

/// Unpauses an instance that an earlier host paused for a copy of its state and did not unpause before it
/// ended. If the engine fails, this is tried again in the background. No copy may begin meanwhile: otherwise
/// the instance would be unpaused in the middle of the copy, and the copy's own pause note would be deleted.
pub(crate) fn unpause(host: &Host, entry: &ProgramEntry, instance: InstanceId) {
    tracing::warn!(%instance, "this instance was paused for a copy of its state when a host ended: unpausing it");
    let host = host.clone();
    let copying = Arc::clone(entry.copying());
    let paused = entry.pauses().begin();
    // Locked before the program is in the registry, so that no copy comes first.
    let alone = Arc::clone(&copying).try_lock_owned();
    tokio::spawn(async move {
        let _alone = match alone {
            Ok(alone) => alone,
            Err(_) => copying.lock_owned().await,
        };
        let _paused = paused;
        if let Err(error) = host.unpause(&instance).await {
            tracing::error!(%instance, %error, "this instance is still paused; 'hersh restart' starts it anew");
        }
    });
}

fn with_owner(stored: StoredProgram) -> Result<(UserId, StoredProgram), RecoverError> {
    let owner = UserId::parse(&stored.owner).map_err(|error| RecoverError::Owner {
        program: stored.stepper.state().id.clone(),
        message: error.to_string(),
    })?;
    Ok((owner, stored))
}

fn resume(
    host: &Host,
    owner: UserId,
    stored: StoredProgram,
    left_behind: Option<Cause>,
) -> ProgramEntry {
    let id = stored.stepper.state().id.clone();
    let last_event_ms = Arc::new(AtomicU64::new(stored.last_event_ms));
    let journal = ProgramJournal::new(
        host.journal().clone(),
        stored.row,
        Arc::clone(&last_event_ms),
        stored.snapshot_seq,
        host.metrics().clone(),
        StateLog::new(stored.stepper.state()),
    );
    // The program's effects may begin before its entry is in the registry, and they ask who owns the program.
    let incarnation = Incarnation::new(stored.row.number(), stored.stepper.state().seed);
    host.registry().reserve_for_resume(&id, &owner, incarnation);
    let supervisor = Supervisor::run_with_orphan(
        stored.stepper,
        left_behind,
        host.effects(),
        journal,
        host.surroundings(),
        Config::default(),
    );
    ProgramEntry::new(
        stored.row,
        owner,
        stored.created_at_ms,
        last_event_ms,
        supervisor,
    )
}
