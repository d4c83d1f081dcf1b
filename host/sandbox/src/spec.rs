//! The exact description of an instance before it is made: what runs, and how it is confined.

use std::collections::{BTreeMap, BTreeSet};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
use hersh_program::{DeployStrategy, ImageId, InstanceId, Manifest, NetworkMode};

use crate::property::{
    Access, Bound, FirstProcess, Folder, Kernel, MemoryFolder, MountPoints, NameServers,
    NetworkReach, Property, Source,
};

/// The path at which an instance sees the host's kernel probe. Images may hold nothing but the program,
/// so the host has to bring the probe along.
pub const PROBE_TARGET: &str = "/.hersh/probe";
/// The path at which an instance sees its state folder.
pub const STATE_TARGET: &str = "/state";
/// The home folder of a program, unless its image or its manifest names another. The program can write
/// there.
pub const HOME: &str = STATE_TARGET;
/// Folders in memory that a program may write, in order. Their content counts as memory of the sandbox,
/// and nothing in them may be executed.
pub const MEMORY_FOLDERS: [&str; 4] = ["/dev/shm", "/run", "/tmp", "/var/tmp"];

/// The variable that tells a program how much time it has from the stop signal to its end, milliseconds.
const STOP_GRACE: &str = "HERSH_STOP_GRACE_MS";
/// The variable that tells a program without a network the path of its socket.
const WATCHER_SOCKET: &str = "HERSH_WATCHER_SOCKET";

/// The init process of a sandbox. The number of processes in a manifest does not include it.
const INIT_PROCESSES: u32 = 1;
/// The threads that gVisor needs from its start, and for a few processes that come and go, with room to
/// spare. Measured: 49 for a sandbox with one process, 98 for a loop of short processes, 3,100 for ten
/// such loops at once.
const SANDBOX_THREADS: u32 = 1_024;
/// The threads that gVisor holds for one process. Measured: 8 for each of 200 waiting processes, and up
/// to 150 for each of many processes that come and go at once, in releases of gVisor that trace
/// processes. Threads beyond that are left to the limit of memory, which counts some 28 KiB for each of
/// them.
const THREADS_PER_PROCESS: u32 = 32;

/// One instance that is about to be made. The fields decide how the instance is confined. What all
/// instances have in common, such as a root that can't be written, has no field, so nobody can ask for
/// anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The id of the instance.
    pub instance: InstanceId,
    /// The image that runs.
    pub image: ImageId,
    /// Environment variables from the manifest.
    pub env: BTreeMap<String, String>,
    /// Environment variables from the host. None of them has the name of a variable in `env`.
    pub host_env: BTreeMap<String, String>,
    /// The kernel that the instance runs on.
    pub kernel: Kernel,
    /// The network mode, which decides what the instance reaches.
    pub network: NetworkMode,
    /// The place of the instance's `/state`.
    pub state: StatePlace,
    /// The bounds on the instance's resources.
    pub bounds: Bounds,
    /// The kind of the first process, which depends on the image.
    pub first_process: FirstProcess,
}

/// The place of an instance's `/state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// The program's folder on disk, which outlives the instance.
    Kept,
    /// One more folder in memory: another instance of the program may run at the same time.
    InMemory,
}

/// The bounds on the resources of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The bound on memory, bytes. There is no swap in addition.
    pub memory_bytes: u64,
    /// The bound on processor time, thousandths of one core.
    pub cpu_millis: u32,
    /// The bound on threads of the machine's kernel: the program's own, or those of the gVisor kernel
    /// that runs it.
    pub threads: u32,
    /// The bound on the program's own processes and threads, as gVisor's kernel counts them. `None` on
    /// the machine's kernel, which would count those of all programs together.
    pub processes: Option<u32>,
    /// The bound on each folder in memory, bytes.
    pub tmp_bytes: u64,
    /// The bound on the runtime's own copy of the output, bytes. The number is even, since some runtimes
    /// keep two files of half the size.
    pub log_bytes: u64,
}

impl Spec {
    /// Returns the spec of an instance that runs `image` under `manifest` on `kernel`.
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
            state: match manifest.deploy {
                DeployStrategy::Replace => StatePlace::Kept,
                DeployStrategy::Overlap { .. } => StatePlace::InMemory,
            },
            bounds: Bounds::new(manifest, kernel),
            first_process: FirstProcess::Init,
        }
    }

    /// Returns every property that the instance must have, one of each name. [`PropertyName::Processes`]
    /// is left out on the machine's kernel.
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
            Property::Network(NetworkReach::Mode(self.network)),
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

    /// Returns the folders from outside that the instance sees.
    #[must_use]
    pub fn folders(&self) -> Vec<Folder> {
        let probe = Folder {
            target: PROBE_TARGET.to_owned(),
            source: Source::Tools,
            access: Access::ReadOnly,
        };
        let state = Folder {
            target: STATE_TARGET.to_owned(),
            source: Source::StateOf(self.instance.program.clone()),
            access: Access::Writable,
        };
        match self.state {
            StatePlace::Kept => vec![probe, state],
            StatePlace::InMemory => vec![probe],
        }
    }

    /// Returns the instance's folders in memory.
    #[must_use]
    pub fn memory_folders(&self) -> Vec<MemoryFolder> {
        let folder = |target: &str| MemoryFolder {
            target: target.to_owned(),
            size_bytes: self.bounds.tmp_bytes,
            access: Access::Writable,
            inert: true,
        };
        let state = match self.state {
            StatePlace::Kept => None,
            StatePlace::InMemory => Some(STATE_TARGET),
        };
        let mut folders = MEMORY_FOLDERS.to_vec();
        folders.extend(state);
        folders.sort_unstable();
        folders.into_iter().map(folder).collect()
    }

    /// Returns the name servers of the instance. An instance without egress has none: a name server
    /// outside of its network would be a way out.
    #[must_use]
    pub fn name_servers(&self) -> NameServers {
        match self.network {
            NetworkMode::Internal | NetworkMode::None => NameServers::Nobody,
            NetworkMode::Egress => NameServers::OfMachine,
        }
    }
}

/// Returns the user and group of every instance, `uid:gid`.
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

/// Returns the bounds on threads of the machine and on processes inside, for a program that asks for
/// `asked` processes.
fn threads_and_processes(kernel: Kernel, asked: u32) -> (u32, Option<u32>) {
    let processes = asked.saturating_add(INIT_PROCESSES);
    match kernel {
        Kernel::Gvisor => (sandbox_threads(asked), Some(processes)),
        Kernel::Machine => (processes, None),
    }
}

/// Returns how many threads of the machine's kernel gVisor may use to run `processes` of a program. A
/// sandbox that is refused a thread dies as a whole, so a program must always meet another bound before
/// this one.
const fn sandbox_threads(processes: u32) -> u32 {
    SANDBOX_THREADS.saturating_add(processes.saturating_mul(THREADS_PER_PROCESS))
}

/// Returns the variables of the manifest, and those that the host sets for a program of the `hersh`
/// library. The host tells the time from the stop signal to the kill, less a tenth, so that the program
/// can end by itself. A program without a network is also told the path of the socket on which the host
/// looks for it. The manifest can't choose that path.
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
