//! A host over a fake engine: everything but the engine is real.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use hersh_base::{
    lock::DataLock,
    surroundings::{Surroundings, simulated::BEGINS_MS},
};
use hersh_journal::{JOURNAL_FILE, Journal};
use hersh_machine::driver::Clock;
use hersh_program::{Program, ProgramId};
use hersh_proxy::io_threads::IoThreads;
use hersh_storage::{Storage, StorageError, output::LogStore};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use super::{CommitPoint, FakeEngine, FakeRuntime, WriteFate};
use crate::{
    HostError, api, auth,
    connections::{self, Acceptor},
    host::Host,
    recover::{self, HostInputs},
    workers::Workers,
};

type Probe = Box<dyn Fn(CommitPoint) -> WriteFate + Send + Sync>;

/// What a [`TestHost`] is made of.
pub struct Setup {
    storage: Storage,
    runtime: Arc<FakeRuntime>,
    seed: Option<u64>,
    begins_ms: u64,
    probe: Option<Probe>,
}

impl Setup {
    /// A host on the folder `data` that runs its programs in `engine`.
    ///
    /// # Errors
    /// [`StorageError`] when the folder can't be used.
    pub fn new(data: &std::path::Path, engine: &Arc<FakeEngine>) -> Result<Self, StorageError> {
        let storage = Storage::open(data)?;
        let runtime = FakeRuntime::new(Arc::clone(engine), storage.clone());
        Ok(Self::over(storage, runtime))
    }

    /// Like [`Setup::new`], with the engine that another process serves at `socket`.
    ///
    /// # Errors
    /// [`StorageError`] when the folder can't be used.
    pub fn remote(data: &std::path::Path, socket: PathBuf) -> Result<Self, StorageError> {
        let storage = Storage::open(data)?;
        let runtime = FakeRuntime::remote(socket, storage.clone());
        Ok(Self::over(storage, runtime))
    }

    fn over(storage: Storage, runtime: FakeRuntime) -> Self {
        Self {
            storage,
            runtime: Arc::new(runtime),
            seed: None,
            begins_ms: BEGINS_MS,
            probe: None,
        }
    }

    /// Programs are reached at `address`, port 8080.
    #[must_use]
    pub fn reached_at(self, address: IpAddr) -> Self {
        self.runtime.reach_at(Some(address));
        self
    }

    /// Takes time and randomness from `seed` and tokio's clock, and works without threads.
    #[must_use]
    pub fn simulated(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Reaches programs by the sockets in their state folders, not by an address.
    #[must_use]
    pub fn reached_by_socket(self) -> Self {
        self.runtime.reach_at(None);
        self
    }

    /// What the clock of a simulated host shows at first, milliseconds since the Unix epoch.
    #[must_use]
    pub fn beginning_at(mut self, now_ms: u64) -> Self {
        self.begins_ms = now_ms;
        self
    }

    /// Asks `probe` before and after every commit of the journal, which is then made where the
    /// one who writes stands.
    #[must_use]
    pub fn with_journal_probe(
        mut self,
        probe: impl Fn(CommitPoint) -> WriteFate + Send + Sync + 'static,
    ) -> Self {
        self.probe = Some(Box::new(probe));
        self
    }

    fn journal(&mut self) -> Result<Journal, HostError> {
        let path = self.storage.data_dir().join(JOURNAL_FILE);
        let probe = self.probe.take();
        Ok(match (probe, self.seed) {
            (None, None) => Journal::open(&path)?,
            (Some(probe), _) => Journal::open_probed(&path, probe)?,
            (None, Some(_)) => Journal::open_probed(&path, |_| WriteFate::default())?,
        })
    }
}

/// A host that runs.
pub struct TestHost {
    pub(crate) host: Host,
    router: Router,
    workers: Workers,
    token: String,
    _lock: DataLock,
}

impl TestHost {
    /// Brings a host up, with all that its journal knows.
    ///
    /// # Errors
    /// [`HostError`] as for a real one.
    pub async fn start(mut setup: Setup) -> Result<Self, HostError> {
        let storage = setup.storage.clone();
        let data = storage.data_dir().to_path_buf();
        let lock = DataLock::take(&data)?;
        let journal = setup.journal()?;
        let programs = recover::StoredPrograms::read(&journal).map_err(HostError::Recover)?;
        let begins_ms = setup.begins_ms;
        let simulated = |seed| Surroundings::simulated(seed, begins_ms);
        let surroundings = setup.seed.map_or(Surroundings::System, simulated);
        let (accounts, _) = auth::open(&journal, &data, surroundings.now_ms()).await?;
        let token = std::fs::read_to_string(data.join("admin-token")).unwrap_or_default();
        let inputs = HostInputs {
            programs,
            storage,
            journal,
            output: LogStore::new(setup.storage.clone()),
            builder: Arc::<FakeRuntime>::clone(&setup.runtime),
            runtime: setup.runtime,
            accounts,
            surroundings,
            bounds: recover::Bounds::default(),
        };
        let (host, workers) = recover::start_host(inputs)
            .await
            .map_err(HostError::Recover)?;
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)));
        Ok(Self {
            router: api::router(host.clone()).layer(Extension(peer)),
            host,
            workers,
            token: token.trim().to_owned(),
            _lock: lock,
        })
    }

    /// The admin's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// One request to the API with the admin's token, without a socket in between. A body is JSON.
    /// The status, and the whole answer.
    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.ask_as(&self.token, None, method, path, body).await
    }

    /// Like [`TestHost::ask`], with somebody's token and perhaps an `Idempotency-Key`.
    pub async fn ask_as(
        &self,
        token: &str,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let Ok(request) = request.body(Body::from(body.to_vec())) else {
            return (400, b"method, path or a header is none".to_vec());
        };
        let router = TowerToHyperService::new(self.router.clone());
        let Ok(answer) = router.call(request).await;
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await;
        (status, body.map(Into::into).unwrap_or_default())
    }

    /// Serves the API over HTTP until `stop` resolves.
    ///
    /// # Errors
    /// When the system gives no threads for it.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let acceptor = Acceptor {
            tls: None,
            behind_tls_proxy: false,
            metrics: self.host.metrics().connections().clone(),
            io_threads: IoThreads::start()?,
        };
        connections::serve(listener, acceptor, api::site(self.host.clone()), stop).await;
        Ok(())
    }

    /// Every program as it stands, by id.
    #[must_use]
    pub fn programs(&self) -> Vec<Program> {
        let entries = self.host.list();
        entries
            .iter()
            .map(|entry| entry.supervisor().state())
            .collect()
    }

    /// Waits until nothing is under way in the program; its state then. `None` if there is none.
    pub async fn settled(&self, program: &ProgramId) -> Option<Program> {
        let entry = self.host.registry().get(program)?;
        Some(entry.supervisor().settled().await)
    }

    /// Ends the host; what runs goes on running in the engine.
    pub fn shut_down(self) {
        recover::shut_down(&self.host, &self.workers);
    }
}
