//! What a host can be asked: the one place behind the API.

mod error;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hersh_program::{
    CommandError as ProgramError, Event, Manifest, Program, ProgramId, Refusal, Source, State,
    Supervisor,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
};

pub(crate) use self::error::{CommandError, CreateError, ReplaceError};
pub(crate) use crate::registry::Entry;
use crate::{
    auth::Auth,
    effects::Effects,
    journal::{Journal, JournalError},
    proxy::Proxy,
    registry::{ProgramJournal, Registry},
    runtime::{Runtime, Unavailable},
    storage::{StagedSource, Storage},
};

/// What a user can ask of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Start,
    Stop,
    Restart,
    Delete,
}

/// How a command was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is durable and will be carried out.
    Accepted,
    /// There is nothing to do.
    Already,
}

/// Uploads at once: each holds a thread and room in staging.
pub(crate) const UPLOADS_MAX: usize = 16;

/// A host; clones are the same one.
#[derive(Clone)]
pub(crate) struct Host(Arc<Parts>);

/// What a host is made of.
pub(crate) struct Parts {
    pub(crate) storage: Storage,
    pub(crate) journal: Journal,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) registry: Registry,
    pub(crate) effects: Arc<Effects>,
    pub(crate) auth: Auth,
    pub(crate) proxy: Proxy,
    pub(crate) uploads: Arc<Semaphore>,
}

impl Host {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.0.runtime
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// A place among those who send source right now; `None` when there is none.
    pub(crate) fn upload(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.uploads).try_acquire_owned().ok()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn effects(&self) -> Arc<Effects> {
        Arc::clone(&self.0.effects)
    }

    /// Does blocking work on a thread made for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Host) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let host = self.clone();
        tokio::task::spawn_blocking(move || work(&host)).await
    }

    pub(crate) fn get(&self, id: &ProgramId) -> Result<Arc<Entry>, CommandError> {
        self.0
            .registry
            .get(id)
            .ok_or_else(|| CommandError::NotFound(id.clone()))
    }

    /// Every program, by id.
    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        self.0.registry.list()
    }

    /// An id for a program that was given no name.
    pub(crate) fn new_id(&self) -> Result<ProgramId, getrandom::Error> {
        loop {
            let id = ProgramId::parse(&format!("p-{:016x}", getrandom::u64()?));
            // Hex digits after `p-` are always a valid id; a taken one is drawn again.
            if let Ok(id) = id
                && self.0.registry.get(&id).is_none()
            {
                return Ok(id);
            }
        }
    }

    /// Takes a program in. It is durable when this returns; nothing is left of one that fails.
    pub(crate) async fn create(
        &self,
        id: ProgramId,
        staged: StagedSource,
        manifest: Manifest,
    ) -> Result<Arc<Entry>, CreateError> {
        if !self.0.registry.reserve(&id) {
            return Err(JournalError::Exists(id).into());
        }
        // A task of its own: the client may hang up, a program is whole or not there all the same.
        let host = self.clone();
        let creating = tokio::spawn(async move {
            let created = host.create_reserved(id.clone(), staged, manifest).await;
            if created.is_err() {
                host.undo_create(id).await;
            }
            created
        });
        creating
            .await
            .unwrap_or_else(|_| Err(JournalError::Closed.into()))
    }

    async fn undo_create(&self, id: ProgramId) {
        let program = id.clone();
        let removed = self
            .blocking(move |host| host.storage().remove(&program))
            .await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%id, %error, "folders of a failed create stay until the next start");
        }
        self.0.registry.remove(&id);
    }

    async fn create_reserved(
        &self,
        id: ProgramId,
        staged: StagedSource,
        manifest: Manifest,
    ) -> Result<Arc<Entry>, CreateError> {
        let program = id.clone();
        let build = self
            .blocking(move |host| host.storage().commit(&program, staged))
            .await
            .map_err(|_| JournalError::Closed)??;
        let source = Source {
            build,
            manifest: Arc::new(manifest),
        };
        let seed = getrandom::u64().map_err(|error| JournalError::Sqlite(error.to_string()))?;
        let program = Program::new(id.clone(), source, seed);
        let created_at_ms = now_ms();
        let row = self
            .0
            .journal
            .create("admin", created_at_ms, &program)
            .await?;
        let last_event_ms = Arc::new(AtomicU64::new(created_at_ms));
        let journal = ProgramJournal {
            journal: self.0.journal.clone(),
            row,
            last_event_ms: Arc::clone(&last_event_ms),
        };
        let supervisor = Supervisor::spawn(program, self.effects(), journal);
        let entry = Arc::new(Entry::new(row, created_at_ms, last_event_ms, supervisor));
        self.0.registry.insert(id.clone(), Arc::clone(&entry));
        tracing::info!(program = %id, "created");
        Ok(entry)
    }

    /// Stores new source; it counts from the next start. Older trees go, but for the one that a
    /// build reads right now.
    pub(crate) async fn replace_source(
        &self,
        entry: &Entry,
        staged: StagedSource,
        manifest: Manifest,
    ) -> Result<(), ReplaceError> {
        let _alone = entry.replacing().await;
        let id = entry.id();
        let build = self
            .blocking(move |host| host.storage().commit(&id, staged))
            .await
            .map_err(|error| CommandError::Journal(error.to_string()))??;
        let source = Source {
            build: build.clone(),
            manifest: Arc::new(manifest),
        };
        self.send(entry, Event::SourceReplaced { source }).await?;
        let (id, kept) = (entry.id(), [build, entry.build_id()]);
        let pruned = self
            .blocking(move |host| host.storage().retain_builds(&id, &kept))
            .await;
        if let Ok(Err(error)) = pruned {
            tracing::warn!(%error, "older source stays until the next one comes");
        }
        Ok(())
    }

    /// Gives a command. It is durable when this returns; with `wait` the program has settled.
    pub(crate) async fn command(
        &self,
        entry: &Entry,
        command: Command,
        wait: Option<Duration>,
    ) -> Result<Outcome, CommandError> {
        let event = match command {
            Command::Start => Event::UserStartRequested,
            Command::Stop => Event::UserStopRequested,
            Command::Restart => Event::UserRestartRequested,
            Command::Delete => Event::UserDeleteRequested,
        };
        let outcome = self.send(entry, event).await?;
        if let Some(wait) = wait {
            self.settle(entry, wait).await?;
        }
        Ok(outcome)
    }

    /// Waits until nothing is under way in the program, at most for `wait`. A program that is
    /// removed has settled once it is forgotten.
    pub(crate) async fn settle(&self, entry: &Entry, wait: Duration) -> Result<(), CommandError> {
        let settled = async {
            let program = entry.supervisor().settled().await;
            if matches!(program.state, State::Removed) {
                entry.gone().cancelled().await;
            }
        };
        tokio::time::timeout(wait, settled)
            .await
            .map_err(|_| CommandError::WaitTimedOut {
                state: entry.state_name(),
            })
    }

    async fn send(&self, entry: &Entry, event: Event) -> Result<Outcome, CommandError> {
        match entry.supervisor().call(event).await {
            Ok(()) => Ok(Outcome::Accepted),
            Err(ProgramError::Refused(Refusal::Already { .. })) => Ok(Outcome::Already),
            Err(ProgramError::Refused(refusal @ Refusal::BeingRemoved)) => {
                Err(CommandError::Refused {
                    refusal,
                    state: entry.state_name(),
                })
            }
            Err(ProgramError::QueueFull) => Err(CommandError::QueueFull),
            Err(ProgramError::Stopped) => Err(CommandError::NotFound(entry.id())),
            Err(ProgramError::Journal(error)) => Err(CommandError::Journal(error.to_string())),
        }
    }

    /// Where the program's sandbox is; `None` unless it is Ready and has a network.
    pub(crate) async fn address(&self, entry: &Entry) -> Result<Option<IpAddr>, Unavailable> {
        let ready = entry.supervisor().with_state(|program| {
            program
                .state
                .container()
                .cloned()
                .map(|c| (program.id.clone(), c))
        });
        let Some((id, container)) = ready else {
            return Ok(None);
        };
        if let Some(address) = entry.known_address(&container) {
            return Ok(Some(address));
        }
        let address = self.0.runtime.address(&id).await?;
        if let Some(address) = address {
            entry.remember_address(container, address);
        }
        Ok(address)
    }
}

/// The time, milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
