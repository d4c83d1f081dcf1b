//! What holds of every runtime holds of the engine in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{
    io::Write,
    os::unix::{fs::chown, net::UnixListener},
    sync::Arc,
};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
use hersh_host::testkit::{FakeEngine, FakeRuntime};
use hersh_program::{BuildId, BuildRules, ProgramId};
use hersh_sandbox::{
    BuildRequest, Hold, Making,
    testkit::{ANSWER, Conduct, END_CODE, World},
};
use hersh_storage::Storage;

hersh_sandbox::runtime_suite!(InMemory::new());

/// An engine in memory with one program, which is reached by its socket.
struct InMemory {
    engine: Arc<FakeEngine>,
    runtime: FakeRuntime,
    storage: Storage,
    program: ProgramId,
    _data: tempfile::TempDir,
}

impl InMemory {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let program = ProgramId::parse("shop").unwrap();
        storage.ensure_folders(&program).unwrap();
        let engine = Arc::<FakeEngine>::default();
        let runtime = FakeRuntime::new(Arc::clone(&engine), storage.clone());
        runtime.reach_at(None);
        Self {
            engine,
            runtime,
            storage,
            program,
            _data: data,
        }
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
        let digit = match conduct {
            Conduct::Waits => "a",
            Conduct::Listens => "b",
        };
        let build = BuildId::parse(&format!("build-{}", digit.repeat(64))).unwrap();
        BuildRequest {
            program: self.program.clone(),
            making: Making::new(1, 1),
            context_dir: self.storage.source_path(&self.program, &build),
            log_path: self.storage.build_log_path(&self.program, &build),
            build,
            rules: BuildRules::default(),
            room_bytes: None,
            held: Hold::default(),
            cancel: Default::default(),
        }
    }

    fn write_state(&self, bytes: usize) {
        let state = self.storage.paths(&self.program).state;
        std::fs::write(state.join("written"), vec![1; bytes]).unwrap();
    }

    async fn tell_to_end(&self) {
        assert!(self.engine.end(&self.program, END_CODE).await);
    }

    fn listen(&self) {
        let path = self.storage.paths(&self.program).state.join(SOCKET_NAME);
        let listener = UnixListener::bind(&path).unwrap();
        chown(&path, Some(SANDBOX_ID), Some(SANDBOX_ID)).unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // A client that is gone already is no matter.
                let _ = connection.and_then(|mut it| it.write_all(ANSWER.as_bytes()));
            }
        });
    }
}
