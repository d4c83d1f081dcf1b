//! The manifest of a program, as the owner wrote it, with every default filled in.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

/// The settings of a program's instances and builds. The manifest is complete: an effect handler never has to
/// choose a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Environment variables of the program's process.
    pub env: BTreeMap<String, String>,
    /// Upper bounds on what the program uses.
    pub limits: Limits,
    /// The networks that the program may reach.
    pub network: NetworkMode,
    /// The rules for building the program's image.
    #[serde(default)]
    pub build: BuildRules,
    /// The rule for starting the program again after it ended.
    pub restart: RestartPolicy,
    /// The number of retries for failures of the program itself, after which it stays in `Error`; for ever if
    /// none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up_after: Option<u32>,
    /// The test for whether the program is up, and the port that requests go to.
    pub readiness: Readiness,
    /// The test for whether an instance that is up still works. Without one, only its end is noticed;
    /// manifests of older journals have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// Limits of the host's proxy for requests to the program.
    #[serde(default)]
    pub proxy: ProxyRules,
    /// The way in which a revision takes the place of the one that runs.
    #[serde(default, skip_serializing_if = "DeployStrategy::is_replace")]
    pub deploy: DeployStrategy,
    /// The time limits of the steps of the lifecycle.
    pub timeouts: Timeouts,
}

impl Default for Manifest {
    fn default() -> Self {
        let readiness = Readiness::default();
        Self {
            env: BTreeMap::new(),
            limits: Limits::default(),
            network: NetworkMode::default(),
            build: BuildRules::default(),
            restart: RestartPolicy::default(),
            give_up_after: None,
            liveness: Liveness::of(&readiness),
            readiness,
            proxy: ProxyRules::default(),
            deploy: DeployStrategy::default(),
            timeouts: Timeouts::default(),
        }
    }
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

/// The rules for building an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRules {
    /// Whether the build's steps may open connections to the internet.
    pub network: bool,
    /// The build's input beyond the source tree.
    #[serde(default)]
    pub recipe: Arc<Recipe>,
}

/// The build's input beyond the source tree. The recipe is part of a build's name, so that an image made by
/// another recipe is never taken for this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// The path of the Dockerfile in the tree; `Dockerfile` at its root if none is named.
    pub dockerfile: Option<String>,
    /// The stage that becomes the image; the last one if none is named.
    pub target: Option<String>,
    /// Values for `ARG`s of the Dockerfile.
    pub args: BTreeMap<String, String>,
    /// Whether base images are fetched anew, even if the host has fetched them earlier.
    pub pull: bool,
    /// Whether build steps run again, even if their outcome is cached.
    pub no_cache: bool,
}

impl Recipe {
    /// Returns the path of the Dockerfile in the tree.
    #[must_use]
    pub fn dockerfile(&self) -> &str {
        self.dockerfile.as_deref().unwrap_or("Dockerfile")
    }

    /// Returns whether the image is built anew even if it exists already.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.pull || self.no_cache
    }
}

/// The way in which a revision takes the place of the one that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum DeployStrategy {
    /// The instance that runs is stopped, then the new one is started: two never write to one `/state`.
    #[default]
    Replace,
    /// The new instance is started beside the one that runs and gets its requests once it is ready. Such a
    /// program keeps nothing: its `/state` is in memory, and each instance has its own.
    Overlap {
        /// The longest time that requests under way may take to end on the instance before, milliseconds.
        drain_ms: u64,
    },
}

impl DeployStrategy {
    /// Returns whether an instance under this strategy keeps what it writes to `/state`.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        match self {
            Self::Replace => true,
            Self::Overlap { .. } => false,
        }
    }

    /// Returns how long requests may go on with an instance that another took the place of, milliseconds.
    pub(crate) fn drain_ms(&self) -> u64 {
        match self {
            Self::Replace => 0,
            Self::Overlap { drain_ms } => *drain_ms,
        }
    }

    fn is_replace(&self) -> bool {
        *self == Self::Replace
    }
}

/// The networks that a program can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The host's proxy reaches the program; the program reaches nobody.
    #[default]
    Internal,
    /// No network at all.
    None,
    /// The program may open connections to the internet. None of its ports is published.
    Egress,
}

/// The rule for starting a program again after it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Starts the program only when somebody asks.
    Never,
    /// Starts the program again after a failure.
    #[default]
    OnFailure,
    /// Starts the program again after a failure and after a clean exit.
    Always,
}

/// The test for whether a started program is up. Requests go to the same port as probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Readiness {
    /// The program is up when a GET on `path` gets an answer with a 2xx status.
    Http {
        /// TCP port inside the sandbox.
        port: u16,
        /// Absolute path.
        path: String,
    },
    /// The program is up when the port accepts a connection.
    Tcp {
        /// TCP port inside the sandbox.
        port: u16,
    },
    /// The program is up as soon as its process runs.
    None {
        /// TCP port inside the sandbox. Journals of older hosts name none.
        #[serde(default = "usual_port")]
        port: u16,
    },
}

impl Readiness {
    /// Returns the TCP port inside the sandbox that probes and requests go to.
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
            path: String::from(WATCHER_STATUS_PATH),
        }
    }
}

/// The path at which a program that is written with the `hersh` library says whether it is ready.
pub const WATCHER_STATUS_PATH: &str = "/watcher/status";

/// The path at which such a program says whether it still works. Older versions of the library do not know it.
pub const WATCHER_HEALTH_PATH: &str = "/watcher/health";

/// The test for whether an instance that is up still works, and what happens if it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// The test.
    pub probe: LivenessProbe,
    /// The time from one test to the next, milliseconds.
    pub interval_ms: u64,
    /// The longest time of one test, milliseconds.
    pub timeout_ms: u64,
    /// The number of tests in a row that have to fail.
    pub failures: u32,
    /// What happens then.
    pub on_failure: OnNotAlive,
}

/// The kinds of test for an instance that is up. They go to the port of [`Readiness`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LivenessProbe {
    /// The instance works if its heartbeat says so: a GET on `/watcher/health`, which the `hersh` library answers
    /// on a thread of its own.
    Heartbeat,
    /// The instance works if a GET on `path` gets an answer with a 2xx status.
    Http {
        /// Absolute path.
        path: String,
    },
    /// The instance works if the port accepts a connection.
    Tcp,
}

/// What happens to an instance that does not work any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNotAlive {
    /// It is stopped, and the program is started again by its restart policy. With the policy `never` it is
    /// left alone, as with `Notify`: nothing would start it again.
    #[default]
    Restart,
    /// It goes on, and the program's state says that it does not answer.
    Notify,
}

impl Liveness {
    /// Returns the usual test for a program with this readiness probe: the heartbeat where the readiness probe
    /// is the watcher's, otherwise the same probe.
    #[must_use]
    pub fn of(readiness: &Readiness) -> Option<Self> {
        let probe = match readiness {
            Readiness::Http { path, .. } if path == WATCHER_STATUS_PATH => LivenessProbe::Heartbeat,
            Readiness::Http { path, .. } => LivenessProbe::Http { path: path.clone() },
            Readiness::Tcp { .. } => LivenessProbe::Tcp,
            Readiness::None { .. } => return None,
        };
        Some(Self::with(probe))
    }

    /// Returns a test with the usual times.
    #[must_use]
    pub fn with(probe: LivenessProbe) -> Self {
        Self {
            probe,
            interval_ms: 10_000,
            timeout_ms: 5_000,
            failures: 3,
            on_failure: OnNotAlive::default(),
        }
    }
}

/// Returns the port on which the WatcherAPI of the `hersh` library listens.
const fn usual_port() -> u16 {
    8080
}

/// Limits of the host's proxy for requests to a program and for its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyRules {
    /// Largest body of a request, bytes.
    pub body_bytes: u64,
    /// Largest head of an answer, bytes.
    pub head_bytes: u32,
    /// The longest time for the whole body of a request, milliseconds.
    pub upload_ms: u64,
    /// The longest time from the end of a request to the head of its answer, milliseconds.
    pub answer_ms: u64,
    /// The longest wait for the next piece of an answer's body or the next byte of a WebSocket, milliseconds.
    pub silence_ms: u64,
    /// Headers of requests that pass in addition to the usual ones, in lower case.
    pub request_headers: Vec<String>,
    /// Headers of answers that pass in addition to the usual ones, in lower case.
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

/// Time limits of the steps of the lifecycle, milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The longest time for making the folders and building the image.
    pub build_ms: u64,
    /// The longest time from start to Ready.
    pub start_ms: u64,
    /// The time from the stop signal to the kill.
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
