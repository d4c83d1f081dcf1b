//! Makes a serving host from its settings, and takes it down again.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc};

use hersh_base::{
    lock::{DataLock, LockError},
    surroundings::Surroundings,
};
use hersh_journal::{Home, Journal, JournalError, OpenError};
use hersh_machine::driver::Clock;
use hersh_proxy::io_threads::IoThreads;
use hersh_storage::{Storage, StorageError, output::LogStore};
use tokio::net::TcpListener;

use crate::{
    Config, api,
    auth::{self, BootstrapError, WrittenToken},
    connections::{self, Acceptor, Scheme},
    recover::{self, Bounds, HostInputs, RecoverError, StoredPrograms},
    service,
    tls::{self, Tls, TlsError},
    unclaimed::{self, ClaimError, EmptyJournal, UnclaimedPrograms},
    workers::{self, WorkerEnded},
};
use hersh_docker::{DockerConfig, DockerRuntime};
use hersh_sandbox::{Kernel, Runtime, Unavailable};

pub(crate) const META_HOST_ID: &str = "host_id";

/// Why a host did not serve.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The certificate or its key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Signals can't be listened to.
    #[error("can't listen for signals: {0}")]
    Signals(std::io::Error),
    /// The threads that carry connections can't be started.
    #[error(
        "can't start threads for connections: {0}; raise the limits of processes and open files"
    )]
    IoThreads(std::io::Error),
    /// The data folder can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another host uses the data folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There are programs that the journal can't know.
    #[error(transparent)]
    Unclaimed(UnclaimedPrograms),
    /// The journal can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The container engine can't be used.
    #[error("{0}; 'hersh doctor' looks closer")]
    Engine(Unavailable),
    /// The admin token could not be prepared.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The programs could not be brought back.
    #[error(transparent)]
    Recover(RecoverError),
    /// The address can't be listened on.
    #[error(
        "can't listen on {address}: {source}; end what listens there, or choose another --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's error.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// A part of the host ended while it served.
    #[error(transparent)]
    Worker(#[from] WorkerEnded),
}

impl HostError {
    /// Returns true for an error that another start would meet again until a person mends its cause. A
    /// service manager should not start the host again after such an error.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Unclaimed(_) => true,
            Self::Open(error) => error.needs_person(),
            Self::Journal(error) => error.needs_person(),
            Self::Recover(error) => match error {
                RecoverError::Journal(error) => error.needs_person(),
                RecoverError::Owner { .. } => true,
                RecoverError::Storage(error) => is_forbidden(&error.source),
                RecoverError::Engine(_) | RecoverError::Interrupted(_) => false,
            },
            Self::Storage(error) => is_forbidden(&error.source),
            Self::Listen { source, .. } => is_forbidden(source),
            // Another host may be on its way out; an engine may come up; a disk may get space.
            Self::Lock(_)
            | Self::Engine(_)
            | Self::Bootstrap(_)
            | Self::Signals(_)
            | Self::IoThreads(_)
            | Self::Random(_)
            | Self::Worker(_) => false,
        }
    }
}

impl From<ClaimError> for HostError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Unclaimed(unclaimed) => Self::Unclaimed(unclaimed),
            ClaimError::Storage(error) => Self::Storage(error),
            ClaimError::Engine(error) => Self::Engine(error),
        }
    }
}

/// Returns true if the operating system will refuse the same again.
fn is_forbidden(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::ReadOnlyFilesystem
    )
}

/// Serves until `stop` resolves. Programs go on running after that; the next start finds them. `on_listening`
/// is called with the address once requests are taken.
///
/// # Errors
/// [`HostError`] says why the host could not start, or not go on; instances that run are left as they are.
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()>,
    on_listening: impl FnOnce(SocketAddr),
) -> Result<(), HostError> {
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let fresh = tls::keep_fresh(tls.clone()).map_err(HostError::Signals)?;
    let storage = Storage::open(&config.settings.data_dir)?;
    let _lock = DataLock::take(storage.data_dir())?;
    let (journal, programs, _journal_lock) = open_journal(&config, &storage).await?;
    let host_id = host_id(&journal).await?;
    let (accounts, new_token) =
        auth::open(&journal, storage.data_dir(), Surroundings::System.now_ms()).await?;
    let output = LogStore::new(storage.clone());
    let runtime = connect(&config, &storage, &output, host_id).await?;
    let listener = listen(config.settings.listen).await?;
    let inputs = HostInputs {
        programs,
        storage,
        journal,
        builder: Arc::<DockerRuntime>::clone(&runtime),
        runtime,
        output,
        accounts,
        surroundings: Surroundings::System,
        bounds: Bounds {
            builds_at_once: config.settings.builds_concurrent_max.get(),
            disk_free_bytes_min: config.settings.disk_free_bytes_min,
        },
    };

    let (host, mut workers) = recover::start_host(inputs).await.map_err(recover_failed)?;
    let acceptor = Acceptor {
        tls,
        behind_tls_proxy: config.settings.behind_tls_proxy,
        metrics: host.metrics().connections().clone(),
        io_threads: IoThreads::start().map_err(HostError::IoThreads)?,
    };
    announce(
        &listener,
        acceptor.scheme(),
        new_token.as_ref(),
        on_listening,
    );
    let (fresh, living) = (tokio::spawn(fresh), tokio::spawn(service::live()));
    let mut outcome = Ok(());
    let stop = async {
        outcome = workers.hold(&host, stop).await;
        service::ending();
    };
    connections::serve(listener, acceptor, api::site(host.clone()), stop).await;
    host.end_pauses().await;
    fresh.abort();
    living.abort();
    workers::close_books(&host).await;
    recover::shut_down(&host, &workers);
    tracing::info!("stopped serving; programs go on running");
    Ok(outcome?)
}

/// Opens the journal and reads the programs that it knows. Refuses if there are programs that the journal
/// should know and does not: a journal that is made here would hide that.
async fn open_journal(
    config: &Config,
    storage: &Storage,
) -> Result<(Journal, StoredPrograms, Option<DataLock>), HostError> {
    let engine = config.settings.engine.path();
    let home = Home::new(storage.data_dir(), config.settings.journal_dir.as_deref());
    home.check()?;
    let before = EmptyJournal::of_file(&home);
    if let Some(nothing) = before {
        unclaimed::refuse_unclaimed(storage, &home, engine, nothing).await?;
    }
    // Made only after the check above: a disk that is not mounted must not get a folder in its place.
    home.make()
        .map_err(StorageError::at("make", home.folder()))?;
    let lock = home.lock()?;
    let journal = Journal::open_with_reserve(&home.file())?;
    let programs = StoredPrograms::read(&journal).map_err(recover_failed)?;
    if before.is_none() && programs.is_empty() {
        unclaimed::refuse_unclaimed(storage, &home, engine, EmptyJournal::NoProgram).await?;
    }
    Ok((journal, programs, lock))
}

async fn connect(
    config: &Config,
    storage: &Storage,
    output: &LogStore,
    host_id: String,
) -> Result<Arc<DockerRuntime>, HostError> {
    let settings = &config.settings;
    let kernel = if settings.insecure_runc {
        Kernel::Machine
    } else {
        Kernel::Gvisor
    };
    let docker = DockerConfig {
        socket: settings.engine.path().to_path_buf(),
        host_id,
        kernel,
        subnet_pool: settings.subnet_pool.base(),
        registries: settings.builds_registries.clone(),
        build_memory_bytes: settings.builds_memory_bytes,
        ..DockerConfig::default()
    };
    let runtime =
        DockerRuntime::new(docker, storage.clone(), output.clone()).map_err(HostError::Engine)?;
    let info = runtime.check().await.map_err(HostError::Engine)?;
    tracing::info!(version = %info.version, facts = ?info.facts, "runtime: {}", info.name);
    match kernel {
        Kernel::Gvisor => {}
        Kernel::Machine => {
            tracing::warn!("gVisor is OFF: programs run on this machine's own kernel");
        }
    }
    Ok(Arc::new(runtime))
}

/// Returns the id that names this host among those that share an engine. It is made once per data folder.
async fn host_id(journal: &Journal) -> Result<String, HostError> {
    if let Some(id) = journal.meta(META_HOST_ID)? {
        return Ok(id);
    }
    let id = format!("{:016x}", getrandom::u64().map_err(HostError::Random)?);
    journal.set_meta(META_HOST_ID, id.clone()).await?;
    Ok(id)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, HostError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| HostError::Listen { address, source })
}

fn announce(
    listener: &TcpListener,
    scheme: Scheme,
    new_token: Option<&WrittenToken>,
    on_listening: impl FnOnce(SocketAddr),
) {
    if let Some(token) = new_token {
        tracing::info!(path = %token.path.display(), "admin token written; 'hersh --token-file' reads it");
    }
    if let Ok(address) = listener.local_addr() {
        let url = format!("{}://{address}", scheme.as_str());
        tracing::info!("listening on {url}");
        service::serving(&url);
        on_listening(address);
    }
}

fn recover_failed(error: RecoverError) -> HostError {
    if let RecoverError::Engine(error) = error {
        return HostError::Engine(error);
    }
    HostError::Recover(error)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hersh_journal::{JOURNAL_FILE, OpenError};
    use hersh_program::{BuildId, Event, Manifest, Program, ProgramId, ProgramStepper, Source};

    use super::*;
    use crate::Settings;

    async fn serve_on(data: &Path) -> HostError {
        serve_with(data, None).await
    }

    async fn serve_with(data: &Path, journal: Option<&Path>) -> HostError {
        let mut settings = Settings::defaults().unwrap();
        settings.data_dir = data.to_owned();
        settings.journal_dir = journal.map(Path::to_owned);
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.engine = format!("unix://{}", data.join("no.sock").display())
            .parse()
            .unwrap();
        let config = Config::new(settings).unwrap();
        let never = std::future::pending();
        serve(config, never, |_| {}).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_journal_with_one_wrong_record_is_refused_before_anything() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let journal = Journal::open(&data.join(JOURNAL_FILE)).unwrap();
        let source = Source {
            build: BuildId::parse("build-0123456789ab").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        let program = Program::new(ProgramId::parse("a").unwrap(), source, 7);
        let row = journal.create("admin", 0, &program).await.unwrap();
        let mut record = ProgramStepper::new(program)
            .step(Event::UserStartRequested, 1)
            .unwrap();
        record.effects.clear();
        journal.append(row, &record).await.unwrap();

        let error = serve_on(&data).await;
        assert!(error.needs_person(), "{error}");
        assert!(error.to_string().contains("decided otherwise"), "{error}");
        assert_eq!(journal.meta(META_HOST_ID).unwrap(), None);
        assert!(!data.join("admin-token").exists());
    }

    #[tokio::test]
    async fn a_lost_journal_is_not_taken_for_a_new_host() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let source = data.join("programs/a/src/build-0123456789ab");
        std::fs::create_dir_all(&source).unwrap();
        let journal = data.join(JOURNAL_FILE);
        for content in [None, Some("")] {
            if let Some(content) = content {
                std::fs::write(&journal, content).unwrap();
            }
            let error = serve_on(&data).await;
            assert!(matches!(error, HostError::Unclaimed(_)), "{error}");
            assert!(error.needs_person());
            assert!(
                error.to_string().contains("hersh host set-aside"),
                "{error}"
            );
            assert!(source.exists(), "nothing is cleared");
            assert_eq!(journal.exists(), content.is_some(), "and none is made");
            assert!(!data.join("admin-token").exists());
        }
        // A journal's log without the journal is left of a lost journal, and SQLite would remove it.
        std::fs::remove_dir_all(data.join("programs")).unwrap();
        let log = data.join("journal.db-wal");
        std::fs::write(&log, "events").unwrap();
        let error = serve_on(&data).await;
        assert!(matches!(error, HostError::Unclaimed(_)), "{error}");
        assert!(log.exists());
        // A journal file that was cut short is damaged, not new.
        std::fs::write(&journal, "SQLite format 3\0").unwrap();
        let error = serve_on(&data).await;
        assert!(error.needs_person(), "{error}");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }

    #[tokio::test]
    async fn a_journal_older_than_all_programs_clears_none_that_ran() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let source = data.join("programs/a/src");
        std::fs::create_dir_all(&source).unwrap();
        drop(Journal::open(&data.join(JOURNAL_FILE)).unwrap());
        // A program whose creation was cut short is no reason to refuse.
        let error = serve_on(&data).await;
        assert!(matches!(error, HostError::Engine(_)), "{error}");
        std::fs::create_dir_all(data.join("programs/a/logs")).unwrap();
        std::fs::write(data.join("programs/a/logs/output"), "said").unwrap();
        let error = serve_on(&data).await;
        assert!(matches!(error, HostError::Unclaimed(_)), "{error}");
        assert!(source.exists());
    }

    #[tokio::test]
    async fn an_engine_that_is_away_needs_no_person() {
        let folder = tempfile::tempdir().unwrap();
        let error = serve_on(&folder.path().join("data")).await;
        assert!(matches!(error, HostError::Engine(_)), "{error}");
        assert!(!error.needs_person());
    }

    #[tokio::test]
    async fn a_journal_that_was_not_moved_along_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        std::fs::create_dir(&data).unwrap();
        drop(Journal::open(&data.join(JOURNAL_FILE)).unwrap());
        let error = serve_with(&data, Some(&other)).await;
        assert!(error.needs_person(), "{error}");
        assert!(error.to_string().contains("move it there"), "{error}");
        assert!(!other.exists());
        // Commands that work without a host begin nothing in the other folder either.
        let home = Home::new(&data, Some(&other));
        let tokens = auth::valid_tokens(home.clone(), 5).unwrap_err().to_string();
        assert!(tokens.contains("move it there"), "{tokens}");
        let engine = data.join("no.sock");
        let refused = crate::set_aside(home, &engine, 5).await.unwrap_err();
        assert!(refused.to_string().contains("move it there"), "{refused}");
        assert!(!other.exists());
        for name in [JOURNAL_FILE, "journal.db-wal", "journal.db-shm"] {
            std::fs::create_dir_all(&other).unwrap();
            std::fs::rename(data.join(name), other.join(name)).unwrap();
        }
        let error = serve_with(&data, Some(&other)).await;
        assert!(matches!(error, HostError::Engine(_)), "{error}");
        assert!(!data.join(JOURNAL_FILE).exists());
        // The last events may stand in a journal's log that was left behind.
        std::fs::write(data.join("journal.db-wal"), "events").unwrap();
        let error = serve_with(&data, Some(&other)).await;
        assert!(
            error.to_string().contains("journal.db-wal was left"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_disk_of_the_journal_that_is_away_is_no_new_host() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        std::fs::create_dir_all(data.join("programs/a/src")).unwrap();
        let error = serve_with(&data, Some(&other)).await;
        assert!(matches!(error, HostError::Unclaimed(_)), "{error}");
        let place = other.display().to_string();
        assert!(error.to_string().contains(&place), "{error}");
        assert!(!other.exists(), "nothing is made where it is mounted");
    }

    #[tokio::test]
    async fn two_hosts_do_not_write_to_one_journal() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let first = Home::new(folder.path(), Some(&journal));
        first.make().unwrap();
        drop(Journal::open(&first.file()).unwrap());
        let lock = first.lock().unwrap();
        let error = serve_with(&folder.path().join("data"), Some(&journal)).await;
        assert!(matches!(error, HostError::Lock(_)), "{error}");
        drop(lock);
        let error = serve_with(&folder.path().join("data"), Some(&journal)).await;
        assert!(matches!(error, HostError::Engine(_)), "{error}");
    }

    #[test]
    fn what_the_next_start_meets_again_needs_a_person() {
        let too_new = OpenError::TooNew {
            path: "journal.db".into(),
            found: 99,
            known: 3,
        };
        let listen = |kind: ErrorKind| HostError::Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 80)),
            source: kind.into(),
        };
        assert!(HostError::Open(too_new).needs_person());
        assert!(listen(ErrorKind::PermissionDenied).needs_person());
        assert!(!listen(ErrorKind::AddrInUse).needs_person());
        assert!(!HostError::Journal(JournalError::Full).needs_person());
    }
}
