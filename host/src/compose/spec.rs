//! Everything about the container that would run.

use std::{collections::BTreeMap, path::PathBuf};

use hersh_program::{ImageId, Manifest, NetworkMode, ProgramId};
use serde::{Deserialize, Serialize};

/// Label that names the program of a container or an image.
pub const PROGRAM_LABEL: &str = "hersh.program";
/// Label that names the host that made it: several hosts can share one engine.
pub const HOST_LABEL: &str = "hersh.host";
/// User and group id of every program, and the owner of its `/state`.
pub const SANDBOX_ID: u32 = 65_532;

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
}

/// A folder of the host inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host; absolute.
    pub source: PathBuf,
    /// Inside; absolute.
    pub target: String,
    /// Whether it can be written from inside.
    pub writable: bool,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Inside; absolute.
    pub target: String,
    /// At most this much, bytes.
    pub size_bytes: u64,
    /// Whether it can be written from inside.
    pub writable: bool,
}

/// Everything about the container that would run. Nothing is left to the engine's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Whose.
    pub program: ProgramId,
    /// The container's name.
    pub name: String,
    /// What runs.
    pub image: ImageId,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The engine's name of the runtime.
    pub runtime: String,
    /// Numeric user and group, `uid:gid`.
    pub user: String,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Folders of the host.
    pub mounts: Vec<Mount>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// What it can reach.
    pub network: NetworkMode,
    /// Ports published on the host, `host:container`.
    pub ports: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Devices of the host.
    pub devices: Vec<String>,
    /// Whether all of the above is moot.
    pub privileged: bool,
    /// `private` or a namespace shared with somebody, by kind: `pid`, `ipc`, `uts`, `userns`, `cgroup`.
    pub namespaces: BTreeMap<String, String>,
    /// Memory, bytes; swap is not added.
    pub memory_bytes: u64,
    /// Processor time, thousandths of one core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// The engine's own copy of the log, bytes.
    pub log_bytes: u64,
    /// The engine's own restart policy.
    pub engine_restart: String,
}

impl Spec {
    /// What runs for `manifest`.
    #[must_use]
    pub fn new(
        program: &ProgramId,
        image: &ImageId,
        manifest: &Manifest,
        environment: &Environment,
    ) -> Self {
        let labels = [
            (PROGRAM_LABEL, program.as_str()),
            (HOST_LABEL, environment.host_id.as_str()),
        ];
        let namespaces = ["pid", "ipc", "uts", "userns", "cgroup"];
        Self {
            program: program.clone(),
            name: format!("hersh-{program}"),
            image: image.clone(),
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            env: manifest.env.clone(),
            runtime: match environment.mode {
                RuntimeMode::Runsc => "runsc".to_owned(),
                RuntimeMode::RuncForDevelopment => "runc".to_owned(),
            },
            user: format!("{SANDBOX_ID}:{SANDBOX_ID}"),
            read_only: true,
            mounts: vec![Mount {
                source: environment.state_dir.clone(),
                target: "/state".to_owned(),
                writable: true,
            }],
            tmpfs: vec![Tmpfs {
                target: "/tmp".to_owned(),
                size_bytes: manifest.limits.tmp_bytes,
                writable: true,
            }],
            network: manifest.network,
            ports: Vec::new(),
            cap_drop: vec!["ALL".to_owned()],
            cap_add: Vec::new(),
            security_opt: vec!["no-new-privileges".to_owned()],
            devices: Vec::new(),
            privileged: false,
            namespaces: namespaces
                .map(|kind| (kind.to_owned(), "private".to_owned()))
                .into(),
            memory_bytes: manifest.limits.memory_bytes,
            cpu_millis: manifest.limits.cpu_millis,
            pids: manifest.limits.pids,
            log_bytes: manifest.limits.log_bytes,
            engine_restart: "no".to_owned(),
        }
    }
}
