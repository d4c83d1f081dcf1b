//! One host's hands without its head: storage, contracts and runtime, with one program.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use hersh_docker::{DockerConfig, DockerRuntime};
use hersh_program::{
    BuildId, ImageId, InstanceId, InstanceNumber, InstanceStatus, Instances, Limits, Manifest,
    ProgramId,
};
use hersh_proxy::Rules;
use hersh_sandbox::{
    BuildRequest, Builder, Contract, Fact, Incarnation, Receipt, RunningInstance, Runtime, Spec,
    StartError,
    property::{Access, Bound, NetworkReach, Property},
    validate, verify,
};
use hersh_storage::{SourceLimits, Storage, output::LogStore};
use tempfile::TempDir;

use crate::{
    counter::{self, File},
    engine::Engine,
    patience::until,
    report::{Seen, same, seen},
};

const MEMORY_BYTES: u64 = 64 * 1024 * 1024;
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Storage and runtime on a folder of their own.
pub(crate) struct World {
    storage: Storage,
    runtime: DockerRuntime,
    program: ProgramId,
    engine: Engine,
    folder: TempDir,
}

impl World {
    pub(crate) fn open(engine: &Engine) -> Result<Seen<Self>> {
        let folder = tempfile::tempdir()?;
        let name = format!("validation-io-{}", std::process::id());
        let program = ProgramId::parse(&name)?;
        let storage = Storage::open(folder.path())?;
        storage.ensure_folders(&program)?;
        let config = DockerConfig {
            socket: engine.socket.clone(),
            host_id: name,
            ..DockerConfig::default()
        };
        let world = Self {
            runtime: DockerRuntime::new(config, storage.clone(), LogStore::new(storage.clone()))?,
            storage,
            program,
            engine: engine.clone(),
            folder,
        };
        let evidence = format!("{} for {}", world.folder.path().display(), world.program);
        seen(world, evidence)
    }

    /// Ends with nothing left, whatever the checks came to.
    pub(crate) async fn close(self, engine: &Engine) -> Result<Seen<()>> {
        // What is under way ends before anything is looked at. A failure shows in what is left.
        let _ = self
            .runtime
            .stop(&self.program, Instances::All, Duration::ZERO)
            .await;
        drop((self.runtime, self.storage));
        engine.clean_up(self.program.as_str(), self.folder).await
    }

    /// A good tree with one bad entry at its end: nothing of it may stay.
    pub(crate) fn refuse(&self, path: &'static str) -> Result<Seen<()>> {
        let files = [
            File::text("Dockerfile", "FROM scratch\n"),
            File::text(path, "x"),
        ];
        let archive = counter::pack(&files)?;
        let taken = self
            .storage
            .stage_archive(archive.as_slice(), SourceLimits::default());
        let refusal = match taken {
            Ok(staged) => bail!("it was taken in as {}", staged.build_id()),
            Err(refusal) => refusal.to_string(),
        };
        ensure!(refusal.contains(path), "the entry is not named: {refusal}");
        same("staged", &self.staged()?, &Vec::new())?;
        seen((), format!("{refusal}; nothing is staged"))
    }

    pub(crate) fn take(&self) -> Result<Seen<BuildId>> {
        let files = counter::files()?;
        let build = self.store(&counter::pack(&files)?)?;
        let stored = self.storage.source_path(&self.program, &build);
        for file in &files {
            ensure!(
                std::fs::read(stored.join(file.path))? == file.content,
                "{} was stored with another content",
                file.path
            );
        }
        same("staged", &self.staged()?, &Vec::new())?;
        let evidence = format!("examples/counter, {} files, is {build}", files.len());
        seen(build, evidence)
    }

    /// The same files in another order are the same tree; one more file is another one.
    pub(crate) fn take_again(&self, build: &BuildId) -> Result<Seen<()>> {
        let mut files = counter::files()?;
        files.reverse();
        let again = self.store(&counter::pack(&files)?)?;
        same("build id", &again, build)?;
        files.push(File::text("more", "x"));
        let other = self.store(&counter::pack(&files)?)?;
        ensure!(&other != build, "one more file changes nothing: {other}");
        self.storage
            .retain_builds(&self.program, std::slice::from_ref(build))?;
        seen(
            (),
            format!("in another order {again}; one file more {other}"),
        )
    }

    pub(crate) fn violate(&self, contract: Contract) -> Result<Seen<()>> {
        let image = ImageId::parse(&format!("sha256:{}", "0".repeat(64)))?;
        let spec = self.spec(&image);
        validate(&spec).context("the whole spec is refused")?;
        let mut facts = declared(spec.properties());
        verify(&spec, &facts).context("what was asked is refused")?;
        facts.extend(declared([broken(contract)]));
        match verify(&spec, &facts) {
            Ok(_verified) => bail!("it was accepted"),
            Err(violation) => {
                same("contract", &violation.contract, &contract)?;
                seen((), format!("found {}", violation.found))
            }
        }
    }

    pub(crate) async fn greet(&self) -> Result<Seen<()>> {
        let info = self.runtime.check().await?;
        seen(
            (),
            format!("{} {}, {:?}", info.name, info.version, info.facts),
        )
    }

    pub(crate) async fn build(&self, build: &BuildId) -> Result<Seen<ImageId>> {
        let image = self.run_build(build).await?;
        let evidence = image.to_string();
        seen(image, evidence)
    }

    pub(crate) async fn build_again(&self, build: &BuildId, image: &ImageId) -> Result<Seen<()>> {
        same("image", &self.run_build(build).await?, image)?;
        seen((), "the image that stands is the answer")
    }

    pub(crate) async fn start_broken(&self, image: &ImageId) -> Result<Seen<()>> {
        let mut spec = self.spec(image);
        spec.bounds.memory_bytes = 0;
        let violation = match self.runtime.start(spec).await {
            Err(StartError::Violated(violation)) => violation,
            Err(other) => bail!("refused for another reason: {other}"),
            Ok(running) => bail!("it was started as {}", running.container),
        };
        same("contract", &violation.contract, &Contract::Limits)?;
        self.no_container().await?;
        seen((), violation.to_string())
    }

    pub(crate) async fn start(&self, image: &ImageId) -> Result<Seen<RunningInstance>> {
        let running = self.runtime.start(self.spec(image)).await?;
        let kernel = running.receipt.kernel.trim().to_owned();
        ensure!(
            kernel.to_lowercase().contains("gvisor"),
            "its kernel says {kernel:?}"
        );
        let on_engine = self.engine.containers(self.program.as_str()).await?;
        same(
            "containers",
            &on_engine,
            &vec![running.container.to_string()],
        )?;
        seen(running, format!("its kernel says {kernel:?}"))
    }

    pub(crate) fn read_receipt(&self, running: &RunningInstance) -> Result<Seen<()>> {
        self.storage
            .write_receipt(&self.program, &running.receipt)?;
        let stored = self.storage.read_receipt::<Receipt>(&self.program)?;
        let receipt = stored.context("no receipt is stored")?;
        same("stored receipt", &receipt, &running.receipt)?;
        let verified: Vec<_> = receipt.contracts.iter().map(|it| it.contract).collect();
        same("contracts", &verified[..], &Contract::ALL[..])?;
        let limits = receipt.contracts.iter().flat_map(|it| &it.properties);
        let memory = format!("memory {}MiB", MEMORY_BYTES >> 20);
        ensure!(
            limits.into_iter().any(|proof| proof.property == memory),
            "no {memory}"
        );
        seen(
            (),
            format!("{}; {memory}", Contract::ALL.map(Contract::name).join(", ")),
        )
    }

    pub(crate) async fn reach(&self, running: &RunningInstance) -> Result<Seen<()>> {
        let (path, name) = ("/watcher/status", self.program.as_str());
        let rules = Rules::new(&Manifest::default());
        until("it answers with success", || async {
            // Until it listens, the connection is refused.
            let answer = hersh_proxy::probe(&running.endpoint, &rules, name, path);
            Ok(answer.await.ok())
        })
        .await?;
        seen((), format!("success from {path}"))
    }

    pub(crate) async fn stop(&self) -> Result<Seen<()>> {
        self.runtime
            .stop(&self.program, Instances::All, STOP_GRACE)
            .await?;
        self.no_container().await?;
        let observed = self.runtime.observe(&self.instance()).await?;
        same("observed", &observed, &InstanceStatus::Absent)?;
        seen((), "the runtime and the engine know none")
    }

    pub(crate) async fn remove(&self, build: &BuildId) -> Result<Seen<()>> {
        self.runtime.forget(&self.program).await?;
        self.storage.remove(&self.program)?;
        let image = self.runtime.find(&self.program, build).await?;
        same("image", &image, &None)?;
        same("programs stored", &self.storage.programs()?, &Vec::new())?;
        let left = self.engine.leftovers(self.program.as_str()).await?;
        same("on the engine", &left, &Vec::new())?;
        seen((), "storage lists no program, the engine nothing of it")
    }

    fn instance(&self) -> InstanceId {
        InstanceId {
            program: self.program.clone(),
            number: InstanceNumber(1),
        }
    }

    fn spec(&self, image: &ImageId) -> Spec {
        let manifest = Manifest {
            limits: Limits {
                memory_bytes: MEMORY_BYTES,
                ..Limits::default()
            },
            ..Manifest::default()
        };
        Spec::new(&self.instance(), image, &manifest, self.runtime.kernel())
    }

    fn store(&self, archive: &[u8]) -> Result<BuildId> {
        let staged = self
            .storage
            .stage_archive(archive, SourceLimits::default())?;
        Ok(self.storage.commit(&self.program, staged)?)
    }

    async fn run_build(&self, build: &BuildId) -> Result<ImageId> {
        let request = BuildRequest {
            rules: Default::default(),
            free_bytes: None,
            permit: Default::default(),
            program: self.program.clone(),
            incarnation: Incarnation::new(1, 1),
            build: build.clone(),
            context_dir: self.storage.source_path(&self.program, build),
            log_path: self.storage.build_log_path(&self.program, build),
            // Never cancelled: a build whose future is dropped ends as well.
            cancel: Default::default(),
        };
        Ok(self.runtime.build(request).await?)
    }

    async fn no_container(&self) -> Result<()> {
        let found = self.engine.containers(self.program.as_str()).await?;
        same("containers", &found, &Vec::new())
    }

    fn staged(&self) -> Result<Vec<String>> {
        names(&self.storage.data_dir().join("staging"))
    }
}

/// What a runtime might say of an instance.
fn declared(properties: impl IntoIterator<Item = Property>) -> Vec<Fact> {
    let declared = |property| Fact::Declared {
        property,
        by: "a runtime".to_owned(),
    };
    properties.into_iter().map(declared).collect()
}

/// A property that breaks this contract.
fn broken(contract: Contract) -> Property {
    match contract {
        Contract::Gvisor => Property::Kernel(None),
        Contract::ReadOnlyRoot => Property::RootFileSystem(Access::Writable),
        Contract::OneWritableVolume => Property::Folders(Vec::new()),
        Contract::NoPublishedPort => Property::PublishedPorts(vec!["8080/tcp".to_owned()]),
        Contract::Network => Property::Network(NetworkReach::Foreign(vec!["bridge".to_owned()])),
        Contract::Privileges => Property::Capabilities(["SYS_ADMIN".to_owned()].into()),
        Contract::Limits => Property::Memory(Bound::Unbounded),
    }
}

/// What a folder holds.
fn names(folder: &Path) -> Result<Vec<String>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
