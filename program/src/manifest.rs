//! What the owner of a program asked for, with every default filled in.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

/// How a program is to be run. Complete: an effect handler never has to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Environment variables of the program's process.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach.
    pub network: NetworkMode,
    /// How its image is built.
    #[serde(default)]
    pub build: BuildRules,
    /// When it is started again after it ended.
    pub restart: RestartPolicy,
    /// How to tell that it is up, and the port that requests go to.
    pub readiness: Readiness,
    /// What the host's proxy allows on the way to it.
    #[serde(default)]
    pub proxy: ProxyRules,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// Upper bounds on what one program uses. Always set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the sandbox, bytes.
    pub memory_bytes: u64,
    /// Processor time, thousandths of one core.
    pub cpu_millis: u32,
    /// Processes and threads of the program itself at once.
    pub pids: u32,
    /// Size of `/tmp`, and of each other folder in memory, bytes.
    pub tmp_bytes: u64,
    /// Size of `/state`, bytes.
    pub state_bytes: u64,
    /// Kept log output, bytes.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            memory_bytes: 256 * MIB,
            cpu_millis: 1_000,
            pids: 256,
            tmp_bytes: 64 * MIB,
            state_bytes: 1024 * MIB,
            log_bytes: 16 * MIB,
        }
    }
}

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRules {
    /// Whether steps may open connections to the internet.
    pub network: bool,
    /// What is made of the tree.
    #[serde(default)]
    pub recipe: Arc<Recipe>,
}

/// What is made of a source tree, beyond what the tree says itself. It is part of a build's name, so
/// that an image that was made by another recipe is never taken for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// The path of the Dockerfile in the tree; `Dockerfile` at its root if none is named.
    pub dockerfile: Option<String>,
    /// The stage that becomes the image; the last one if none is named.
    pub target: Option<String>,
    /// Values for `ARG`s of the Dockerfile.
    pub args: BTreeMap<String, String>,
    /// Whether base images that the host fetched earlier are fetched anew.
    pub pull: bool,
    /// Whether steps run again whose outcome is known.
    pub no_cache: bool,
}

impl Recipe {
    /// Returns where in the tree the Dockerfile stands.
    #[must_use]
    pub fn dockerfile(&self) -> &str {
        self.dockerfile.as_deref().unwrap_or("Dockerfile")
    }

    /// Whether an image that stands is made anew all the same.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.pull || self.no_cache
    }
}

/// What a program can reach over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The host's proxy reaches it; it reaches nobody.
    #[default]
    Internal,
    /// No network at all.
    None,
    /// It may open connections to the internet. Nothing is published.
    Egress,
}

/// When a program that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Only when somebody asks.
    Never,
    /// After a failure.
    #[default]
    OnFailure,
    /// After a failure and after a clean exit.
    Always,
}

/// How to tell that a started program is up. Requests go to the same port as probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Readiness {
    /// A GET on `path` answers with a 2xx status.
    Http {
        /// TCP port inside the sandbox.
        port: u16,
        /// Absolute path.
        path: String,
    },
    /// The port accepts a connection.
    Tcp {
        /// TCP port inside the sandbox.
        port: u16,
    },
    /// Up as soon as its process runs.
    None {
        /// TCP port inside the sandbox. Journals of older hosts name none.
        #[serde(default = "usual_port")]
        port: u16,
    },
}

impl Readiness {
    /// The TCP port inside the sandbox that probes and requests go to.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port } | Self::None { port } => *port,
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::Http {
            port: usual_port(),
            path: String::from("/watcher/status"),
        }
    }
}

/// Where the WatcherAPI of the `hersh` library listens.
const fn usual_port() -> u16 {
    8080
}

/// What the host's proxy allows on the way to a program and back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyRules {
    /// Largest body of a request, bytes.
    pub body_bytes: u64,
    /// Largest head of an answer, bytes.
    pub head_bytes: u32,
    /// For the whole of a request's body, milliseconds.
    pub upload_ms: u64,
    /// From the end of a request to the head of its answer, milliseconds.
    pub answer_ms: u64,
    /// For the next piece of an answer's body, or the next byte of a WebSocket, milliseconds.
    pub silence_ms: u64,
    /// Headers of requests that pass beside the usual ones, in lower case.
    pub request_headers: Vec<String>,
    /// Headers of answers that pass beside the usual ones, in lower case.
    pub response_headers: Vec<String>,
}

impl Default for ProxyRules {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            head_bytes: 64 * 1024,
            upload_ms: 30_000,
            answer_ms: 30_000,
            silence_ms: 120_000,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }
}

/// How long each step of the lifecycle may take, milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Folders and image build.
    pub build_ms: u64,
    /// From start to Ready.
    pub start_ms: u64,
    /// From the stop signal to the kill.
    pub stop_grace_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            build_ms: 15 * 60_000,
            start_ms: 60_000,
            stop_grace_ms: 10_000,
        }
    }
}
