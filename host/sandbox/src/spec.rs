//! What exactly would run, and how it is confined.

use std::collections::{BTreeMap, BTreeSet};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
use hersh_program::{ImageId, InstanceId, Manifest, NetworkMode};

use crate::property::{
    Access, Bound, FirstProcess, Folder, Kernel, MemoryFolder, MountPoints, NameServers, Property,
    Reach, Source,
};

/// Where an instance sees the host's kernel probe: images may hold nothing but the program, so what
/// looks at the kernel from inside has to be brought along.
pub const PROBE_TARGET: &str = "/.hersh/probe";
/// Where an instance sees its state folder.
pub const STATE_TARGET: &str = "/state";
/// Where a program's home is, unless its image or its manifest says: a folder that it can write.
pub const HOME: &str = STATE_TARGET;
/// Folders in memory that a program may write, in order. What is in them counts as memory of the
/// sandbox, and none of them holds anything that may be executed.
pub const MEMORY_FOLDERS: [&str; 4] = ["/dev/shm", "/run", "/tmp", "/var/tmp"];

/// Tells a program how long it has from the stop signal to its end, milliseconds.
const STOP_GRACE: &str = "HERSH_STOP_GRACE_MS";
/// Tells a program without a network the path of its socket.
const WATCHER_SOCKET: &str = "HERSH_WATCHER_SOCKET";

/// The init, which a program's own number does not count.
const INIT_PROCESSES: u32 = 1;
/// Threads that gVisor starts with and for a few processes that come and go, with room: 49 were seen
/// for a sandbox with one process, 98 for a loop of short ones, 3,100 for ten such loops at once.
const SANDBOX_THREADS: u32 = 1_024;
/// Threads that gVisor holds for one process: 8 were seen for each of 200 that wait, and up to 150 for
/// each of many that come and go at once, with releases that trace them. More is left to the limit of
/// memory, which counts some 28 KiB for each thread.
const THREADS_PER_PROCESS: u32 = 32;

/// One instance that would run. How it is confined follows from its fields: what all instances have in
/// common, such as a root that can't be written, has no field, so that nobody can ask for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The instance that it is.
    pub instance: InstanceId,
    /// What runs.
    pub image: ImageId,
    /// Environment variables that its manifest gives.
    pub env: BTreeMap<String, String>,
    /// Environment variables that the host gives; none has a name of the manifest's.
    pub host_env: BTreeMap<String, String>,
    /// The kernel that it runs on.
    pub kernel: Kernel,
    /// What it reaches.
    pub network: NetworkMode,
    /// What bounds it.
    pub bounds: Bounds,
    /// What its first process is, which depends on the image.
    pub first_process: FirstProcess,
}

/// What bounds an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Memory, bytes. There is no swap beside it.
    pub memory_bytes: u64,
    /// Processor time, thousandths of one core.
    pub cpu_millis: u32,
    /// Threads on the machine's kernel: the program's own, or gVisor's that run it.
    pub threads: u32,
    /// Processes and threads that the program itself may have at once, as gVisor's kernel counts them;
    /// `None` on the machine's kernel, which would count those of all programs together.
    pub processes: Option<u32>,
    /// Each folder in memory, bytes.
    pub tmp_bytes: u64,
    /// What a runtime keeps of the output besides the host, bytes. Even, since some keep two files of
    /// half the size.
    pub log_bytes: u64,
}

impl Spec {
    /// What runs for `manifest` on `kernel`.
    #[must_use]
    pub fn new(
        instance: &InstanceId,
        image: &ImageId,
        manifest: &Manifest,
        kernel: Kernel,
    ) -> Self {
        let (env, host_env) = env(manifest);
        Self {
            instance: instance.clone(),
            image: image.clone(),
            env,
            host_env,
            kernel,
            network: manifest.network,
            bounds: Bounds::new(manifest, kernel),
            first_process: FirstProcess::Init,
        }
    }

    /// Every property that the instance has to have, one of each. [`PropertyName::Processes`] is
    /// left out on the machine's kernel.
    ///
    /// [`PropertyName::Processes`]: crate::property::PropertyName::Processes
    #[must_use]
    pub fn properties(&self) -> Vec<Property> {
        let bounds = &self.bounds;
        let mut properties = vec![
            Property::Kernel(Some(self.kernel)),
            Property::RootFileSystem(Access::ReadOnly),
            Property::Folders(self.folders()),
            Property::MemoryFolders(self.memory_folders()),
            Property::MountPoints(MountPoints::Free),
            Property::PublishedPorts(Vec::new()),
            Property::Network(Reach::Mode(self.network)),
            Property::NameServers(self.name_servers()),
            Property::User(user()),
            Property::Capabilities(BTreeSet::new()),
            Property::NewPrivileges(false),
            Property::Devices(Vec::new()),
            Property::SharedNamespaces(Vec::new()),
            Property::RestartedBy(None),
            Property::FirstProcess(self.first_process),
            Property::OtherSettings(Vec::new()),
            Property::Memory(Bound::AtMost(bounds.memory_bytes)),
            Property::Swap(Bound::AtMost(0)),
            Property::Processor(bounds.cpu_millis),
            Property::Threads(bounds.threads),
            Property::Log(Bound::AtMost(bounds.log_bytes)),
        ];
        properties.extend(bounds.processes.map(Property::Processes));
        properties
    }

    /// What it sees of outside.
    #[must_use]
    pub fn folders(&self) -> Vec<Folder> {
        vec![
            Folder {
                target: PROBE_TARGET.to_owned(),
                source: Source::Tools,
                access: Access::ReadOnly,
            },
            Folder {
                target: STATE_TARGET.to_owned(),
                source: Source::StateOf(self.instance.program.clone()),
                access: Access::Writable,
            },
        ]
    }

    /// Its folders in memory.
    #[must_use]
    pub fn memory_folders(&self) -> Vec<MemoryFolder> {
        let folder = |target: &str| MemoryFolder {
            target: target.to_owned(),
            size_bytes: self.bounds.tmp_bytes,
            access: Access::Writable,
            inert: true,
        };
        MEMORY_FOLDERS.map(folder).into()
    }

    /// Who answers its questions for names. A name server outside of its network would be a way out.
    #[must_use]
    pub fn name_servers(&self) -> NameServers {
        match self.network {
            NetworkMode::Internal | NetworkMode::None => NameServers::Nobody,
            NetworkMode::Egress => NameServers::OfMachine,
        }
    }
}

/// The user and group of every instance, `uid:gid`.
#[must_use]
pub fn user() -> String {
    format!("{SANDBOX_ID}:{SANDBOX_ID}")
}

impl Bounds {
    fn new(manifest: &Manifest, kernel: Kernel) -> Self {
        let limits = &manifest.limits;
        let (threads, processes) = threads_and_processes(kernel, limits.pids);
        Self {
            memory_bytes: limits.memory_bytes,
            cpu_millis: limits.cpu_millis,
            threads,
            processes,
            tmp_bytes: limits.tmp_bytes,
            log_bytes: limits.log_bytes & !1,
        }
    }
}

/// The bounds on threads of the machine and on processes inside for `asked` processes of a program.
fn threads_and_processes(kernel: Kernel, asked: u32) -> (u32, Option<u32>) {
    let processes = asked.saturating_add(INIT_PROCESSES);
    match kernel {
        Kernel::Gvisor => (sandbox_threads(asked), Some(processes)),
        Kernel::Machine => (processes, None),
    }
}

/// The threads on the machine's kernel with which gVisor runs `processes` of a program. A sandbox
/// that is refused one dies as a whole, so this bound must never be the one that a program meets.
const fn sandbox_threads(processes: u32) -> u32 {
    SANDBOX_THREADS.saturating_add(processes.saturating_mul(THREADS_PER_PROCESS))
}

/// The manifest's environment, and what the host tells a program of the `hersh` library: when the kill
/// follows the stop signal (it is told a tenth less, so that it can end by itself), and without a
/// network the socket on which the host looks for it, which is no choice of the manifest's.
fn env(manifest: &Manifest) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut own, mut host) = (manifest.env.clone(), BTreeMap::new());
    if !own.contains_key(STOP_GRACE) {
        let told_ms = manifest.timeouts.stop_grace_ms - manifest.timeouts.stop_grace_ms / 10;
        host.insert(STOP_GRACE.to_owned(), told_ms.to_string());
    }
    if manifest.network == NetworkMode::None {
        own.remove(WATCHER_SOCKET);
        let socket = format!("{STATE_TARGET}/{SOCKET_NAME}");
        host.insert(WATCHER_SOCKET.to_owned(), socket);
    }
    (own, host)
}
