//! What holds of every runtime holds of the engine in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
use hersh_host::testkit::{FakeEngine, FakeRuntime, Process};
use hersh_program::{BuildId, BuildRules, NetworkMode, ProgramId};
use hersh_sandbox::{
    BuildPermit, BuildRequest, Incarnation, RunningInstance,
    testkit::{
        ANSWER, ASKED, COUNT, Conduct, END_CODE, ENDED, NOTHING, OUTSIDE, PORT, READY, World,
    },
};
use hersh_storage::Storage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
};

hersh_sandbox::runtime_suite!(InMemory::new());

/// How often a program that was asked to stop gives way before it ends.
const BUSY_TURNS: usize = 1_000;

/// An engine in memory with one program, whose processes are tasks of the test.
struct InMemory {
    engine: Arc<FakeEngine>,
    runtime: FakeRuntime,
    storage: Storage,
    program: ProgramId,
    /// What images do; the place of each tells its build.
    conducts: Arc<Mutex<Vec<Conduct>>>,
    /// Where programs are reached, and the service outside.
    address: IpAddr,
    outside: SocketAddr,
    _data: tempfile::TempDir,
}

impl InMemory {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let program = ProgramId::parse("shop").unwrap();
        storage.ensure_folders(&program).unwrap();
        let (address, outside) = (loopback(), serve_outside());
        let conducts = Arc::<Mutex<Vec<Conduct>>>::default();
        let (does, state) = (Arc::clone(&conducts), storage.paths(&program).state);
        let engine = Arc::new(FakeEngine::played_by(move |process| {
            let does = does.lock().unwrap();
            let mut numbered = (0..).zip(does.iter());
            let own = process.build();
            let own = numbered.find(|(number, _)| Some(build(*number)) == own);
            let (_, conduct) = own.expect("each image is one of the suite's");
            tokio::spawn(play(process, *conduct, state.clone(), address));
        }));
        engine.put_outside(outside);
        let runtime = FakeRuntime::new(Arc::clone(&engine), storage.clone());
        runtime.reach_at(Some(address));
        Self {
            engine,
            runtime,
            storage,
            program,
            conducts,
            address,
            outside,
            _data: data,
        }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.storage.paths(&self.program).state.join(name)
    }
}

impl World for InMemory {
    type Runtime = FakeRuntime;

    fn runtime(&self) -> &FakeRuntime {
        &self.runtime
    }

    fn program(&self) -> &ProgramId {
        &self.program
    }

    fn tree(&self, conduct: Conduct) -> BuildRequest {
        let mut conducts = self.conducts.lock().unwrap();
        let known = conducts.iter().position(|it| *it == conduct);
        let number = known.unwrap_or_else(|| {
            conducts.push(conduct);
            conducts.len() - 1
        });
        let build = build(number);
        BuildRequest {
            program: self.program.clone(),
            incarnation: Incarnation::new(1, 1),
            context_dir: self.storage.source_path(&self.program, &build),
            log_path: self.storage.build_log_path(&self.program, &build),
            build,
            rules: BuildRules::default(),
            free_bytes: None,
            permit: BuildPermit::default(),
            cancel: Default::default(),
        }
    }

    fn write_state(&self, bytes: usize) {
        std::fs::write(self.state("written"), vec![1; bytes]).unwrap();
    }

    fn read_state(&self, name: &str) -> String {
        std::fs::read_to_string(self.state(name)).unwrap_or_default()
    }

    async fn tell_to_end(&self) {
        assert!(self.engine.end(&self.program, END_CODE).await);
    }

    fn outside(&self) -> SocketAddr {
        self.outside
    }

    async fn address(&self, _running: &RunningInstance) -> SocketAddr {
        SocketAddr::new(self.address, PORT)
    }
}

fn build(number: usize) -> BuildId {
    BuildId::parse(&format!("build-{number:064x}")).unwrap()
}

/// An address of this machine that no other world has.
fn loopback() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let [number, high] = [NEXT.fetch_add(1, Ordering::Relaxed), high.max(1)];
    IpAddr::from([127, high, low, number])
}

/// A service that is none of the programs.
fn serve_outside() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // A client that is gone already is no matter.
            let _ = connection.and_then(|mut it| io::Write::write_all(&mut it, OUTSIDE.as_bytes()));
        }
    });
    address
}

/// Plays a program until it ends.
async fn play(mut process: Process, conduct: Conduct, state: PathBuf, address: IpAddr) {
    match conduct {
        Conduct::Waits => {}
        Conduct::Listens => {
            let network = process.network();
            let socket = state.join(SOCKET_NAME);
            tokio::select! {
                () = process.ended() => return,
                () = listen(network, &socket, SocketAddr::new(address, PORT)) => {}
            }
        }
        Conduct::Counts => {
            let mut number = 0_u64;
            while process
                .step(|| write(&state, COUNT, &number.to_string()))
                .await
            {
                number += 1;
                tokio::task::yield_now().await;
            }
        }
        Conduct::Dials(to) => {
            let mut answer = String::new();
            if let Ok(mut stream) = process.connect(to).await {
                stream.read_to_string(&mut answer).await.unwrap();
            }
            if answer.is_empty() {
                answer.push_str(NOTHING);
            }
            process
                .step(|| write(&state, &to.to_string(), &answer))
                .await;
        }
        Conduct::Obeys | Conduct::Refuses => {
            process.step(|| write(&state, READY, "1")).await;
            if process.asked_to_stop().await {
                process.step(|| write(&state, ASKED, "1")).await;
            }
        }
    }
    if conduct == Conduct::Obeys {
        for _ in 0..BUSY_TURNS {
            tokio::task::yield_now().await;
        }
        process.step(|| write(&state, ENDED, "1")).await;
        process.end(END_CODE).await;
    }
}

fn write(state: &Path, name: &str, line: &str) {
    std::fs::write(state.join(name), format!("{line}\n")).unwrap();
}

/// Answers whoever connects, for ever.
async fn listen(network: NetworkMode, socket: &Path, address: SocketAddr) {
    match network {
        NetworkMode::None => {
            let listener = UnixListener::bind(socket).unwrap();
            chown(socket, Some(SANDBOX_ID), Some(SANDBOX_ID)).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                // A client that is gone already is no matter.
                let _ = stream.write_all(ANSWER.as_bytes()).await;
            }
        }
        NetworkMode::Internal | NetworkMode::Egress => {
            let listener = TcpListener::bind(address).await.unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(ANSWER.as_bytes()).await;
            }
        }
    }
    pending().await
}
