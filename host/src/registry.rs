//! Which programs there are.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use hersh_machine::driver;
use hersh_program::{BuildId, ContainerId, Lifecycle, ProgramId, ProgramRecord, State, Supervisor};
use tokio_util::sync::CancellationToken;

use crate::{
    convert,
    journal::{Journal, ProgramRow},
    proxy::InFlight,
};

/// One program of this host.
pub(crate) struct Entry {
    row: ProgramRow,
    created_at_ms: u64,
    last_event_ms: Arc<AtomicU64>,
    supervisor: Supervisor,
    in_flight: InFlight,
    /// Where its container was found; of use as long as that container runs.
    address: Mutex<Option<(ContainerId, IpAddr)>>,
    gone: CancellationToken,
    /// Held while source is stored, told to the program, and older source removed.
    replacing: tokio::sync::Mutex<()>,
}

impl Entry {
    pub(crate) fn new(
        row: ProgramRow,
        created_at_ms: u64,
        last_event_ms: Arc<AtomicU64>,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            row,
            created_at_ms,
            last_event_ms,
            supervisor,
            in_flight: InFlight::default(),
            address: Mutex::new(None),
            gone: CancellationToken::new(),
            replacing: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn row(&self) -> ProgramRow {
        self.row
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(crate) fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    /// Since when it is Ready, else when its last event was taken in, milliseconds since the Unix
    /// epoch.
    pub(crate) fn changed_at_ms(&self) -> u64 {
        let ready_since_ms = self.supervisor.with_state(|program| match &program.state {
            State::Ready(ready) => Some(ready.since_ms),
            State::Created
            | State::Building(_)
            | State::Starting(_)
            | State::Stopping(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => None,
        });
        if let Some(since_ms) = ready_since_ms {
            return since_ms;
        }
        self.last_event_ms
            .load(Ordering::Relaxed)
            .max(self.created_at_ms)
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Keeps others from replacing the source meanwhile.
    pub(crate) async fn replacing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.replacing.lock().await
    }

    /// Fires once the program is removed and forgotten.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    pub(crate) fn id(&self) -> ProgramId {
        self.supervisor.with_state(|program| program.id.clone())
    }

    pub(crate) fn state_name(&self) -> &'static str {
        self.supervisor
            .with_state(|program| convert::state_name(&program.state))
    }

    /// The build that is under way or was last: what `latest` means for build logs.
    pub(crate) fn build_id(&self) -> BuildId {
        self.supervisor.with_state(|program| match &program.state {
            State::Building(building) => building.source.build.clone(),
            State::Created
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => program.source.build.clone(),
        })
    }

    /// True while a build is under way or about to be: a restart builds after it has stopped.
    pub(crate) fn is_building(&self) -> bool {
        self.supervisor.with_state(|program| match &program.state {
            State::Building(_) => true,
            State::Stopping(_) => program.image.is_none(),
            State::Created
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => false,
        })
    }

    pub(crate) fn known_address(&self, container: &ContainerId) -> Option<IpAddr> {
        self.address()
            .as_ref()
            .filter(|(known, _)| known == container)
            .map(|(_, address)| *address)
    }

    pub(crate) fn remember_address(&self, container: ContainerId, address: IpAddr) {
        *self.address() = Some((container, address));
    }

    fn address(&self) -> MutexGuard<'_, Option<(ContainerId, IpAddr)>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Slot {
    /// A name that is being created.
    Reserved,
    Taken(Arc<Entry>),
}

/// The programs by id. Locks are held for a look-up only.
#[derive(Default)]
pub(crate) struct Registry(RwLock<BTreeMap<ProgramId, Slot>>);

impl Registry {
    pub(crate) fn get(&self, id: &ProgramId) -> Option<Arc<Entry>> {
        match self.read().get(id) {
            Some(Slot::Taken(entry)) => Some(Arc::clone(entry)),
            Some(Slot::Reserved) | None => None,
        }
    }

    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        let taken = |slot: &Slot| match slot {
            Slot::Taken(entry) => Some(Arc::clone(entry)),
            Slot::Reserved => None,
        };
        self.read().values().filter_map(taken).collect()
    }

    /// Keeps `id` for a program to come; false if it is taken.
    pub(crate) fn reserve(&self, id: &ProgramId) -> bool {
        let mut programs = self.write();
        let free = !programs.contains_key(id);
        if free {
            programs.insert(id.clone(), Slot::Reserved);
        }
        free
    }

    pub(crate) fn insert(&self, id: ProgramId, entry: Arc<Entry>) {
        self.write().insert(id, Slot::Taken(entry));
    }

    pub(crate) fn remove(&self, id: &ProgramId) {
        self.write().remove(id);
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ProgramId, Slot>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ProgramId, Slot>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal as one program's driver sees it.
pub(crate) struct ProgramJournal {
    pub(crate) journal: Journal,
    pub(crate) row: ProgramRow,
    pub(crate) last_event_ms: Arc<AtomicU64>,
}

impl driver::Journal<Lifecycle> for ProgramJournal {
    async fn append(&mut self, record: &ProgramRecord) -> Result<(), driver::JournalError> {
        let stored = self.journal.append(self.row, record).await;
        stored.map_err(|error| driver::JournalError {
            message: error.to_string(),
        })?;
        self.last_event_ms.store(record.now_ms, Ordering::Relaxed);
        Ok(())
    }
}
