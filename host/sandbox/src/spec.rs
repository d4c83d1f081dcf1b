//! Everything about the container that would run.

use std::{collections::BTreeMap, path::PathBuf};

use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
use hersh_program::{ImageId, InstanceId, InstanceNumber, Manifest, NetworkMode};
use serde::{Deserialize, Serialize};

/// Label that names the program of a container or an image.
pub const PROGRAM_LABEL: &str = "hersh.program";
/// Label that numbers the instance of a container among those of its program. Containers of hosts that
/// did not number instances have none.
pub const INSTANCE_LABEL: &str = "hersh.instance";
/// Label that names the host that made it: several hosts can share one engine.
pub const HOST_LABEL: &str = "hersh.host";
/// The label of every layer that a host builds, of failed builds too: the host's id.
pub const LAYER_LABEL: &str = "hersh.layer";
/// Label of every layer of a build: for which making of which program, and with which network, it was
/// made.
pub const CACHE_LABEL: &str = "hersh.cache";
/// Where the host's kernel probe is mounted, read-only: images may hold nothing but the program,
/// so what looks at the kernel from inside has to be brought along.
pub const PROBE_TARGET: &str = "/.hersh/probe";

/// Tells a program how long it has from the stop signal to its end, milliseconds.
const STOP_GRACE: &str = "HERSH_STOP_GRACE_MS";
/// Tells a program without a network the path of its socket.
const WATCHER_SOCKET: &str = "HERSH_WATCHER_SOCKET";
/// The name server of a sandbox without a way out: its own loopback.
pub(crate) const NO_NAME_SERVER: &str = "127.0.0.1";

/// Folders in memory that a program may write, in order. What is in them counts as memory of the
/// sandbox, and none of them holds anything that may be executed.
pub const MEMORY_FOLDERS: [&str; 4] = ["/dev/shm", "/run", "/tmp", "/var/tmp"];
/// Where a program's home is, unless its image or its manifest says: a folder that it can write.
pub const HOME: &str = "/state";

/// The init, which a program's own number does not count.
const INIT_PROCESSES: u32 = 1;
/// Threads that gVisor starts with and for a few processes that come and go, with room: 49 were seen
/// for a sandbox with one process, 98 for a loop of short ones, 3,100 for ten such loops at once.
const SANDBOX_THREADS: u32 = 1_024;
/// Threads that gVisor holds for one process: 8 were seen for each of 200 that wait, and up to 150 for
/// each of many that come and go at once, with releases that trace them. More is left to the limit of
/// memory, which counts some 28 KiB for each thread.
const THREADS_PER_PROCESS: u32 = 32;

/// The threads on this machine's kernel with which gVisor runs `processes` of a program. A sandbox
/// that is refused one dies as a whole, so this bound must never be the one that a program meets.
const fn sandbox_threads(processes: u32) -> u32 {
    SANDBOX_THREADS.saturating_add(processes.saturating_mul(THREADS_PER_PROCESS))
}

/// The bounds on threads of this machine and on processes inside for `asked` processes of a program.
fn threads_and_processes(mode: RuntimeMode, asked: u32) -> (u32, Option<u32>) {
    let processes = asked.saturating_add(INIT_PROCESSES);
    match mode {
        RuntimeMode::Runsc => (sandbox_threads(asked), Some(processes)),
        RuntimeMode::RuncForDevelopment => (processes, None),
    }
}

/// What the programs run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeMode {
    /// gVisor.
    #[default]
    Runsc,
    /// The host's kernel: for development of Hersh itself on machines without gVisor.
    RuncForDevelopment,
}

/// What the host adds to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names this host among those that share an engine.
    pub host_id: String,
    /// What the programs run on.
    pub mode: RuntimeMode,
    /// The program's state folder on the host; absolute.
    pub state_dir: PathBuf,
    /// The kernel probe on the host; absolute.
    pub probe: PathBuf,
}

/// Everything about the container that would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The instance that it is.
    pub instance: InstanceId,
    /// The container's name.
    pub name: String,
    /// What runs.
    pub image: ImageId,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What the programs run on.
    pub mode: RuntimeMode,
    /// How it is confined.
    pub sandbox: Sandbox,
}

/// How a container is confined: what is asked for, or what an engine says that it made. Nothing is
/// left to an engine's defaults, and an engine's setting that has no field here is one of
/// `extras`. Lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The engine's name of the runtime.
    pub runtime: String,
    /// Numeric user and group, `uid:gid`.
    pub user: String,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Folders and files of the host.
    pub mounts: Vec<Mount>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Networks that it is attached to: the name of a [`NetworkMode`] for one of the host's own
    /// that keeps what the mode promises, `foreign ...` for any other.
    pub networks: Vec<String>,
    /// Name servers in place of the host's: itself, where nothing answers, unless it may reach out.
    pub dns: Vec<String>,
    /// Ports published on the host.
    pub ports: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Devices of the host.
    pub devices: Vec<String>,
    /// Whether the container may do what the host may.
    pub privileged: bool,
    /// What is shared with others.
    pub namespaces: Namespaces,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Memory and swap together, bytes.
    pub memory_swap_bytes: u64,
    /// Processor time, thousandths of one core.
    pub cpu_millis: u32,
    /// Threads on this machine's kernel: the program's own, or gVisor's that run it.
    pub pids: u32,
    /// Processes and threads that the program itself may have at once, as the sandbox's kernel counts
    /// them; `None` on this machine's kernel, which would count every program's together.
    pub processes: Option<u32>,
    /// Whether an init of the engine's is the first process: it hands signals on and waits for orphans.
    pub init: bool,
    /// The engine's own copy of the log, bytes.
    pub log_bytes: u64,
    /// The engine's own restart policy: `no`, since the host decides.
    pub engine_restart: String,
    /// Any other setting that differs from what an engine does by itself, as `name value`.
    pub extras: Vec<String>,
}

/// A folder or file of the host inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Inside; absolute.
    pub target: String,
    /// On the host; absolute.
    pub source: PathBuf,
    /// Whether it can be written from inside.
    pub writable: bool,
}

/// A file system in memory, without programs, devices and set-user-id files in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Inside; absolute.
    pub target: String,
    /// At most this much, bytes.
    pub size_bytes: u64,
    /// Whether it can be written from inside.
    pub writable: bool,
    /// Whether `nosuid`, `nodev` and `noexec` are all set.
    pub inert: bool,
}

/// Names the container of an instance of a host, and nothing else on an engine: program ids have no
/// dots, and hosts that share an engine have ids of their own. Hosts that did not number instances
/// named containers after programs alone.
#[must_use]
pub fn container_name(host_id: &str, instance: &InstanceId) -> String {
    let InstanceId { program, number } = instance;
    match *number {
        InstanceNumber::UNNUMBERED => format!("hersh-{program}"),
        InstanceNumber(_) => format!("hersh-{host_id}-{instance}"),
    }
}

/// Says of the user namespace that the container asks for none but the engine's usual one.
pub const ENGINE_DEFAULT: &str = "engine default";

/// Which kernel namespaces a container has to itself: `private`, `none`, or what it shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Processes.
    pub pid: String,
    /// Shared memory and message queues.
    pub ipc: String,
    /// Host name.
    pub uts: String,
    /// User ids.
    pub user: String,
    /// Control groups.
    pub cgroup: String,
}

impl Spec {
    /// What runs for `manifest`.
    #[must_use]
    pub fn new(
        instance: &InstanceId,
        image: &ImageId,
        manifest: &Manifest,
        environment: &Environment,
    ) -> Self {
        Self {
            instance: instance.clone(),
            name: container_name(&environment.host_id, instance),
            image: image.clone(),
            labels: labels(instance, &environment.host_id),
            env: env(manifest),
            mode: environment.mode,
            sandbox: Sandbox::new(manifest, environment),
        }
    }
}

fn labels(instance: &InstanceId, host_id: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (PROGRAM_LABEL.to_owned(), instance.program.to_string()),
        (HOST_LABEL.to_owned(), host_id.to_owned()),
    ]);
    if instance.number != InstanceNumber::UNNUMBERED {
        labels.insert(INSTANCE_LABEL.to_owned(), instance.number.to_string());
    }
    labels
}

/// The manifest's environment, and what a program of the `hersh` library has to know: when the kill
/// follows the stop signal (it is told a tenth less, so that it can end by itself), and without a
/// network the socket on which the host looks for it, which is no choice of the manifest's.
fn env(manifest: &Manifest) -> BTreeMap<String, String> {
    let told_ms = manifest.timeouts.stop_grace_ms - manifest.timeouts.stop_grace_ms / 10;
    let mut env = manifest.env.clone();
    env.entry(STOP_GRACE.to_owned())
        .or_insert_with(|| told_ms.to_string());
    if manifest.network == NetworkMode::None {
        env.insert(WATCHER_SOCKET.to_owned(), format!("/state/{SOCKET_NAME}"));
    }
    env
}

impl Sandbox {
    fn new(manifest: &Manifest, environment: &Environment) -> Self {
        let limits = &manifest.limits;
        let (pids, processes) = threads_and_processes(environment.mode, limits.pids);
        Self {
            runtime: match environment.mode {
                RuntimeMode::Runsc => "runsc".to_owned(),
                RuntimeMode::RuncForDevelopment => "runc".to_owned(),
            },
            user: format!("{SANDBOX_ID}:{SANDBOX_ID}"),
            read_only: true,
            mounts: vec![
                Mount {
                    target: PROBE_TARGET.to_owned(),
                    source: environment.probe.clone(),
                    writable: false,
                },
                Mount {
                    target: "/state".to_owned(),
                    source: environment.state_dir.clone(),
                    writable: true,
                },
            ],
            tmpfs: MEMORY_FOLDERS
                .map(|target| Tmpfs {
                    target: target.to_owned(),
                    size_bytes: limits.tmp_bytes,
                    writable: true,
                    inert: true,
                })
                .into(),
            networks: vec![network_name(manifest.network).to_owned()],
            // An engine's own name server forwards from outside of the sandbox's network, which
            // would be a way out of it.
            dns: match manifest.network {
                NetworkMode::Internal | NetworkMode::None => vec![NO_NAME_SERVER.to_owned()],
                NetworkMode::Egress => Vec::new(),
            },
            ports: Vec::new(),
            cap_drop: vec!["ALL".to_owned()],
            cap_add: Vec::new(),
            security_opt: vec!["no-new-privileges".to_owned()],
            devices: Vec::new(),
            privileged: false,
            namespaces: Namespaces {
                pid: "private".to_owned(),
                ipc: "none".to_owned(),
                uts: "private".to_owned(),
                user: ENGINE_DEFAULT.to_owned(),
                cgroup: "private".to_owned(),
            },
            memory_bytes: limits.memory_bytes,
            memory_swap_bytes: limits.memory_bytes,
            cpu_millis: limits.cpu_millis,
            pids,
            processes,
            init: true,
            // Two files of half the size.
            log_bytes: limits.log_bytes & !1,
            engine_restart: "no".to_owned(),
            extras: Vec::new(),
        }
    }

    /// The network mode asked for; `None` when the networks are not exactly one of the host's.
    #[must_use]
    pub fn network(&self) -> Option<NetworkMode> {
        match self.networks.as_slice() {
            [one] => [
                NetworkMode::Internal,
                NetworkMode::None,
                NetworkMode::Egress,
            ]
            .into_iter()
            .find(|mode| network_name(*mode) == one),
            _other => None,
        }
    }
}

/// The name of a network mode, as manifests write it.
#[must_use]
pub const fn network_name(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Internal => "internal",
        NetworkMode::None => "none",
        NetworkMode::Egress => "egress",
    }
}
