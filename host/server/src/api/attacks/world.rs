//! A host with one program made of bytes, and clients made of bytes.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
};

use hersh_base::{
    sandbox::{SANDBOX_ID, SOCKET_NAME},
    surroundings::Surroundings,
};
use hersh_journal::Journal;
use hersh_machine::driver::Clock;
use hersh_program::{Program, ProgramId, UserId};
use hersh_proxy::io_threads::IoThreads;
use hersh_storage::Storage;
use serde_json::{Value, json};
use tokio::{
    io::BufReader,
    net::{TcpListener, TcpStream, UnixListener},
};
use tower::ServiceExt;

use super::speech::{Answer, Bytes, Client, Conversation, PATIENCE, request, say};
use crate::{
    api::{router, site},
    auth::{self, NewToken, Quota, Role, Scope, TokenId, User},
    connections::{self, Acceptor},
    host::{Command, Host},
    recover::{self, HostInputs},
    testkit::{FakeEngine, FakeRuntime},
    workers::Workers,
};

/// A program's way through one connection.
pub(super) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a program does with each connection.
pub(super) type Script = fn(Conversation, Seen) -> Running;

/// The requests that came to the program whole, as text, in order.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(super) fn note(&self, request: impl Into<String>) {
        self.0.lock().unwrap().push(request.into());
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Methods and targets.
    pub(super) fn targets(&self) -> Vec<String> {
        let target = |request: &String| {
            let mut words = request.split(' ');
            format!("{} {}", words.next().unwrap(), words.next().unwrap())
        };
        self.all().iter().map(target).collect()
    }

    /// Waits until `count` things were noted.
    pub(super) async fn until(&self, count: usize) -> Vec<String> {
        // By the system's clock, since tests stop the runtime's.
        let since = std::time::Instant::now();
        while self.all().len() < count {
            assert!(since.elapsed() < PATIENCE, "only {:?}", self.all());
            tokio::task::yield_now().await;
        }
        self.all()
    }
}

/// The host, with one program `p` that is Ready.
pub(super) struct World {
    pub(super) host: Host,
    pub(super) seen: Seen,
    address: SocketAddr,
    pub(super) token: String,
    workers: Workers,
    folder: tempfile::TempDir,
}

impl World {
    /// The program does this with each connection.
    pub(super) async fn new(script: Script) -> Self {
        Self::over(IoThreads::start().unwrap(), script, json!({})).await
    }

    /// The same, with more in its manifest.
    pub(super) async fn with_manifest(script: Script, manifest: Value) -> Self {
        Self::over(IoThreads::start().unwrap(), script, manifest).await
    }

    /// The same, with all of the host in the test's own runtime, so that its clock is the only one.
    pub(super) async fn in_one_runtime(script: Script) -> Self {
        Self::over(IoThreads::none(), script, json!({})).await
    }

    async fn over(io_threads: IoThreads, script: Script, manifest: Value) -> Self {
        let port = manifest["port"].as_u64().unwrap_or(8080);
        let (listener, address) = loopback(port.try_into().unwrap()).await;
        let (world, runtime) = Self::without_program(io_threads).await;
        runtime.reach_at(Some(address));
        let seen = world.seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream: Box<dyn Bytes> = Box::new(stream);
                tokio::spawn(script(BufReader::new(stream), seen.clone()));
            }
        });
        world.start(manifest).await;
        world
    }

    /// The same, reached by a socket in its state folder.
    pub(super) async fn on_socket(script: Script) -> Self {
        let (world, runtime) = Self::without_program(IoThreads::start().unwrap()).await;
        runtime.reach_at(None);
        world.start(json!({})).await;
        listen(&world.socket(), script, &world.seen);
        world
    }

    /// The host's data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The program's socket.
    pub(super) fn socket(&self) -> PathBuf {
        let state = self.folder.path().join("data/programs/p/state");
        state.join(SOCKET_NAME)
    }

    async fn without_program(io_threads: IoThreads) -> (Self, Arc<FakeRuntime>) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let engine = Arc::new(FakeEngine::default());
        let runtime = Arc::new(FakeRuntime::new(engine, storage.clone()));
        let journal = Journal::open(&storage.data_dir().join("journal.db")).unwrap();
        let programs = recover::StoredPrograms::read(&journal).unwrap();
        let now_ms = Surroundings::System.now_ms();
        let (accounts, _) = auth::open(&journal, storage.data_dir(), now_ms)
            .await
            .unwrap();
        let token = std::fs::read_to_string(storage.data_dir().join("admin-token")).unwrap();
        let inputs = HostInputs {
            programs,
            output: hersh_storage::output::LogStore::new(storage.clone()),
            storage,
            journal,
            builder: Arc::<FakeRuntime>::clone(&runtime),
            runtime: Arc::<FakeRuntime>::clone(&runtime),
            accounts,
            surroundings: Surroundings::System,
            bounds: recover::Bounds::default(),
        };
        let (host, workers) = recover::start_host(inputs).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let never = std::future::pending::<()>();
        let acceptor = Acceptor {
            tls: None,
            behind_tls_proxy: false,
            metrics: host.metrics().connections().clone(),
            io_threads,
        };
        tokio::spawn(connections::serve(
            listener,
            acceptor,
            site(host.clone()),
            never,
        ));
        let world = Self {
            host,
            seen: Seen::default(),
            address,
            token: token.trim().to_owned(),
            workers,
            folder,
        };
        (world, runtime)
    }

    async fn start(&self, manifest: Value) {
        let mut program = json!({
            "name": "p",
            "dockerfile": "FROM scratch\n",
            "src_files": {},
            "readiness": { "kind": "none" },
        });
        let more = manifest.as_object().unwrap().clone();
        program.as_object_mut().unwrap().extend(more);
        for (path, body) in [
            ("/programs", program.to_string()),
            ("/programs/p/start?wait=30s", String::new()),
        ] {
            let request = hyper::Request::post(path)
                .header("authorization", format!("Bearer {}", self.token))
                .header("content-type", "application/json")
                .body(axum::body::Body::from(body))
                .unwrap();
            let answer = router(self.host.clone()).oneshot(request).await.unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
        }
    }

    /// Starts the program once more.
    pub(super) async fn start_again(&self) {
        self.command(Command::Start).await;
    }

    /// Lets the engine say that the program's container is dead, and nothing more.
    pub(super) fn died(&self) {
        let entry = self.host.registry().get(&ProgramId::parse("p").unwrap());
        let entry = entry.unwrap();
        let container = |program: &Program| program.state.container().cloned();
        let container = entry.supervisor().with_state(container);
        entry.container_died(&container.unwrap());
    }

    /// Stops the program, so that its container is over.
    pub(super) async fn stop(&self) {
        self.command(Command::Stop).await;
    }

    async fn command(&self, command: Command) {
        let entry = self.host.registry().get(&ProgramId::parse("p").unwrap());
        let entry = entry.unwrap();
        let settled = self.host.command(&entry, command, Some(PATIENCE));
        settled.await.unwrap();
    }

    /// A further user.
    pub(super) async fn add_user(&self, name: &str, role: Role) -> UserId {
        let id = UserId::parse(name).unwrap();
        let user = User {
            id: id.clone(),
            role,
            quota: Quota::usual(role),
            created_at_ms: 1,
        };
        self.host.accounts().add_user(user).await.unwrap();
        id
    }

    /// A token of that user with scope operate.
    pub(super) async fn add_token(&self, user: &UserId) -> (TokenId, String) {
        let asked = NewToken {
            user: user.clone(),
            scope: Scope::Operate,
            label: String::new(),
            expires_at_ms: None,
            made_by: None,
        };
        let added = self.host.accounts().add_token(asked, 1).await;
        let (info, token) = added.unwrap();
        (info.id, token.reveal().to_owned())
    }

    /// What the end of the host does.
    pub(super) fn shut_down(&self) {
        recover::shut_down(&self.host, &self.workers);
    }

    pub(super) async fn connect(&self) -> Client {
        self.connect_as(&self.token).await
    }

    /// A client with another token than the first admin's.
    pub(super) async fn connect_as(&self, token: &str) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client::new(stream, token.to_owned())
    }

    /// Sends bytes on a connection of their own, and returns all that comes back until the host
    /// closes it.
    pub(super) async fn exchange(&self, request: &str) -> Vec<Answer> {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }
}

/// A program that keeps the rules: notes every request and answers it with `ok`.
pub(super) fn decent(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        while let Some(request) = request(&mut stream).await {
            seen.note(request);
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            )
            .await;
        }
    })
}

/// A program that answers a request with the bytes that [`dictated`] put into it, and then closes the
/// connection.
pub(super) fn obedient(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let Some(request) = request(&mut stream).await else {
            return;
        };
        let hex = request.split(['?', ' ']).nth(2).unwrap_or_default();
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        let answer: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
        say(&mut stream, std::str::from_utf8(&answer).unwrap()).await;
        seen.note(request);
    })
}

/// The request, whose target ends with `x`, with an answer for [`obedient`] in its query.
pub(super) fn dictated(request: &str, answer: &str) -> String {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    request.replacen("/x ", &format!("/x?{hex} "), 1)
}

/// Runs a program's script on a socket that belongs to the sandbox's user.
pub(super) fn listen(path: &Path, script: Script, seen: &Seen) {
    let listener = UnixListener::bind(path).unwrap();
    std::os::unix::fs::chown(path, Some(SANDBOX_ID), Some(SANDBOX_ID)).unwrap();
    let seen = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream: Box<dyn Bytes> = Box::new(stream);
            tokio::spawn(script(BufReader::new(stream), seen.clone()));
        }
    });
}

/// A port of a loopback address that no other test uses now.
async fn loopback(port: u16) -> (TcpListener, IpAddr) {
    loop {
        let [a, b, c, ..] = getrandom::u64().unwrap().to_ne_bytes();
        let address = IpAddr::from([127, a, b, c.clamp(1, 254)]);
        if let Ok(listener) = TcpListener::bind((address, port)).await {
            return (listener, address);
        }
    }
}
