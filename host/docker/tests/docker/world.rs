//! One host with one program beside the test engine, and ways to look at what it does.

use std::{
    net::IpAddr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    exec::{CreateExecOptions, StartExecResults},
    models::ContainerInspectResponse,
};
use futures_util::StreamExt;
use hersh_docker::{DockerConfig, DockerRuntime};
use hersh_program::{
    BuildId, BuildRules, Exit, ImageId, InstanceId, InstanceNumber, InstanceStatus, Instances,
    Manifest, ProgramId, Readiness,
};
use hersh_sandbox::{
    BuildError, BuildPermit, BuildRequest, Builder, Incarnation, Kernel, RunningInstance, Runtime,
    Spec, StartError,
};
use hersh_storage::{SourceLimits, Storage, output::LogStore};
use tokio_util::sync::CancellationToken;

/// How long anything that the tests wait for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until [`World::go`], in a shell script: a program that ends by the clock may end before its
/// start is through.
pub const UNTIL_GO: &str = "while [ ! -e /state/go ]; do sleep 0.1; done";

/// A host with one program.
pub struct World {
    pub storage: Storage,
    pub runtime: DockerRuntime,
    /// What its programs printed.
    pub output: LogStore,
    pub program: ProgramId,
    pub engine: Docker,
    _folder: tempfile::TempDir,
}

/// The test engine's socket.
pub fn socket() -> PathBuf {
    std::env::var_os("HERSH_TEST_ENGINE")
        .map(PathBuf::from)
        .expect("HERSH_TEST_ENGINE names no engine: run these tests with `make test`")
}

impl World {
    /// A new host with an empty data folder.
    pub fn new() -> Self {
        Self::with(|_config| {})
    }

    pub fn with(change: impl FnOnce(&mut DockerConfig)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}-{number}", std::process::id());
        let storage = Storage::open(folder.path()).unwrap();
        let mut config = DockerConfig {
            socket: socket(),
            host_id: name.clone(),
            ..DockerConfig::default()
        };
        change(&mut config);
        let program = ProgramId::parse(&name).unwrap();
        storage.ensure_folders(&program).unwrap();
        let path = socket();
        let output = LogStore::new(storage.clone());
        Self {
            output: output.clone(),
            runtime: DockerRuntime::new(config, storage.clone(), output).unwrap(),
            engine: Docker::connect_with_unix(path.to_str().unwrap(), 60, API_DEFAULT_VERSION)
                .unwrap(),
            program,
            storage,
            _folder: folder,
        }
    }

    /// An engine's image that this host did not build, from a Dockerfile beside a busybox.
    pub async fn foreign_image(&self, name: &str, dockerfile: &str) {
        let options = bollard::query_parameters::BuildImageOptions {
            dockerfile: "Dockerfile".to_owned(),
            t: Some(name.to_owned()),
            networkmode: Some("none".to_owned()),
            rm: true,
            ..Default::default()
        };
        // The engine may meet the removal of another test's image, which says nothing of this one.
        while !self.has_image(name).await {
            let (options, tree) = (options.clone(), busybox_tree(dockerfile));
            let tree = bollard::body_full(tree.into());
            let mut said = std::pin::pin!(self.engine.build_image(options, None, Some(tree)));
            while let Some(said) = said.next().await {
                if let Err(error) = said {
                    let text = error.to_string();
                    assert!(text.contains("unable to find image \"sha256:"), "{text}");
                }
            }
        }
    }

    /// An image made of no files, which no build made.
    pub async fn import(&self, name: &str) {
        let options = bollard::query_parameters::CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name.to_owned()),
            ..Default::default()
        };
        let no_files = bollard::body_full(vec![0; 1_024].into());
        let mut said = std::pin::pin!(self.engine.create_image(
            Some(options),
            Some(no_files),
            None
        ));
        while let Some(said) = said.next().await {
            said.unwrap();
        }
    }

    /// Removes an image by name; not there is a success.
    pub async fn remove_image(&self, name: &str) {
        let options = None::<bollard::query_parameters::RemoveImageOptions>;
        let _ = self.engine.remove_image(name, options, None).await;
    }

    /// Whether the engine has an image of that name or id.
    pub async fn has_image(&self, name: &str) -> bool {
        self.engine.inspect_image(name).await.is_ok()
    }

    /// The first instance of the program.
    pub fn instance(&self) -> InstanceId {
        first(&self.program)
    }

    /// A further program of the same host.
    pub fn neighbour(&self) -> ProgramId {
        let program = ProgramId::parse(&format!("{}-n", self.program)).unwrap();
        self.storage.ensure_folders(&program).unwrap();
        program
    }

    /// The same host after a restart.
    pub fn restarted(&self) -> DockerRuntime {
        let config = DockerConfig {
            socket: socket(),
            host_id: self.program.to_string(),
            ..DockerConfig::default()
        };
        runtime(config, &self.storage)
    }

    /// Stores a tree with a busybox in `bin` and this Dockerfile.
    pub fn store(&self, dockerfile: &str) -> BuildId {
        let staged = self
            .storage
            .stage_archive(busybox_tree(dockerfile).as_slice(), SourceLimits::default())
            .unwrap();
        self.storage.commit(&self.program, staged).unwrap()
    }

    pub fn build_request(&self, build: &BuildId) -> BuildRequest {
        BuildRequest {
            program: self.program.clone(),
            incarnation: Incarnation::new(1, 7),
            build: build.clone(),
            context_dir: self.storage.source_path(&self.program, build),
            log_path: self.storage.build_log_path(&self.program, build),
            rules: BuildRules::default(),
            free_bytes: None,
            permit: BuildPermit::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub async fn try_build(&self, dockerfile: &str) -> Result<ImageId, BuildError> {
        let build = self.store(dockerfile);
        self.runtime.build(self.build_request(&build)).await
    }

    /// Stores a tree whose image runs this shell script.
    pub fn store_script(&self, script: &str) -> BuildId {
        let command = serde_json::json!(["/bin/sh", "-c", script]);
        self.store(&format!(
            "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nCMD {command}\n"
        ))
    }

    /// An image that runs this shell script.
    pub async fn script(&self, script: &str) -> ImageId {
        let build = self.store_script(script);
        let request = self.build_request(&build);
        self.runtime.build(request).await.unwrap()
    }

    pub fn spec(&self, image: &ImageId, change: impl FnOnce(&mut Manifest)) -> Spec {
        self.spec_of(&self.program, image, change)
    }

    pub fn spec_of(
        &self,
        program: &ProgramId,
        image: &ImageId,
        change: impl FnOnce(&mut Manifest),
    ) -> Spec {
        let mut manifest = Manifest {
            readiness: Readiness::None { port: 8080 },
            ..Manifest::default()
        };
        manifest.limits.memory_bytes = 64 * 1024 * 1024;
        change(&mut manifest);
        Spec::new(&first(program), image, &manifest, self.runtime.kernel())
    }

    /// Starts a shell script in a sandbox.
    pub async fn start(&self, script: &str) -> RunningInstance {
        let image = self.script(script).await;
        self.runtime.start(self.spec(&image, |_| {})).await.unwrap()
    }

    /// Starts what is to end by itself, and waits for how it ended. Whether its start or whoever watches
    /// is told depends on how quick the machine is: both are right.
    pub async fn end(&self, spec: Spec) -> Result<Exit, StartError> {
        let started = self.runtime.start(spec).await;
        if started.is_err() {
            assert!(self.containers().await.is_empty(), "left by a failed start");
        }
        if let Err(StartError::Ended(exit)) = started {
            return Ok(exit);
        }
        started?;
        Ok(self.exit().await)
    }

    /// Waits until the program's first instance has ended.
    pub async fn exit(&self) -> Exit {
        let seen = async || self.runtime.observe(&self.instance()).await.unwrap();
        until("it ended", async || {
            matches!(seen().await, InstanceStatus::Exited(..))
        })
        .await;
        let InstanceStatus::Exited(_, exit) = seen().await else {
            panic!("it is there until it is removed");
        };
        exit
    }

    /// Lets a program go on that waits for it.
    ///
    /// A file tells it: a command inside may never be answered once the container is gone.
    pub fn go(&self) {
        let state = self.storage.paths(&self.program).state;
        std::fs::write(state.join("go"), "").unwrap();
    }

    pub async fn stop(&self) {
        self.runtime
            .stop(&self.program, Instances::All, Duration::ZERO)
            .await
            .unwrap();
    }

    pub async fn inspect(&self, container: &str) -> ContainerInspectResponse {
        self.engine
            .inspect_container(container, None)
            .await
            .unwrap()
    }

    /// What a shell command prints inside the sandbox, errors too.
    pub async fn inside(&self, container: &str, command: &str) -> String {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec!["/bin/sh", "-c", command]),
            ..CreateExecOptions::default()
        };
        let exec = self.engine.create_exec(container, options).await.unwrap();
        let StartExecResults::Attached { mut output, .. } =
            self.engine.start_exec(&exec.id, None).await.unwrap()
        else {
            panic!("the engine detached from a command");
        };
        let mut text = String::new();
        let read = async {
            while let Some(piece) = output.next().await {
                text.push_str(&String::from_utf8_lossy(piece.unwrap().as_ref()));
            }
        };
        let ended = tokio::time::timeout(PATIENCE, read).await.is_ok();
        assert!(ended, "{command:?} did not end within {PATIENCE:?}: {text}");
        text
    }

    /// The last lines that the program printed.
    pub async fn last_lines(&self, count: usize) -> Vec<String> {
        let lines = self.output.tail(&self.program, count).await.unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    /// The ids of all containers in the engine that belong to this world's host.
    pub async fn containers(&self) -> Vec<String> {
        let listed = self.runtime.list().await.unwrap();
        listed.iter().map(|one| one.container.to_string()).collect()
    }
}

/// The address of a container on its network; `None` without one.
pub async fn address(running: &RunningInstance) -> Option<IpAddr> {
    let path = socket();
    let engine =
        Docker::connect_with_unix(path.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap();
    let container = engine
        .inspect_container(running.container.as_str(), None)
        .await;
    let settings = container.unwrap().network_settings.unwrap();
    let mut networks = settings.networks.unwrap_or_default().into_values();
    networks.find_map(|network| network.ip_address?.parse().ok())
}

/// The first instance of a program.
pub fn first(program: &ProgramId) -> InstanceId {
    InstanceId {
        program: program.clone(),
        number: InstanceNumber(1),
    }
}

/// A runtime of its own on what is stored there.
pub fn runtime(config: DockerConfig, storage: &Storage) -> DockerRuntime {
    let output = LogStore::new(storage.clone());
    DockerRuntime::new(config, storage.clone(), output).unwrap()
}

/// A development host on the machine's own kernel.
pub fn unsandboxed(config: &mut DockerConfig) {
    config.kernel = Kernel::Machine;
}

/// Waits until `holds`, or fails with what it was waiting for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        while !holds().await {
            looks.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, wait).await.is_ok(),
        "waited in vain until {what}"
    );
}

/// A tar of a Dockerfile and a busybox with all its names.
pub fn busybox_tree(dockerfile: &str) -> Vec<u8> {
    let mut archive = busybox_archive();
    add_file(&mut archive, "Dockerfile", 0o644, dockerfile.as_bytes());
    archive.into_inner().unwrap()
}

/// Adds a file to a tar.
pub fn add_file(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content).unwrap();
}

/// A tar of a busybox with all its names, and no end yet.
pub fn busybox_archive() -> tar::Builder<Vec<u8>> {
    let path = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .expect("no busybox: run these tests with `make test`");
    let names = Command::new(path).arg("--list").output().unwrap().stdout;
    let mut archive = tar::Builder::new(Vec::new());
    let busybox = std::fs::read(path).unwrap();
    add_file(&mut archive, "bin/busybox", 0o755, &busybox);
    for name in String::from_utf8(names).unwrap().lines() {
        if name != "busybox" {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            archive
                .append_link(&mut header, format!("bin/{name}"), "busybox")
                .unwrap();
        }
    }
    archive
}
