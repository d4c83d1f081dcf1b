//! The inputs and outputs of a [`Runtime`](crate::Runtime) and a [`Builder`](crate::Builder).

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hersh_base::endpoint::Endpoint;
use hersh_program::{BuildId, BuildRules, ContainerId, Exit, ImageId, InstanceId, ProgramId};
use tokio_util::sync::CancellationToken;

use crate::{Kernel, Receipt};

/// Tells apart the programs that had the same name one after the other. A name is given again once its
/// program was removed, an incarnation never. Otherwise a new program could get what an older one of its name
/// left in an engine's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation(String);

impl Incarnation {
    /// Returns the incarnation of the program in row `row` of a journal. A journal gives each row number once.
    /// A journal that is restored from a backup can give a number again; `seed` tells such rows apart.
    #[must_use]
    pub fn new(row: i64, seed: u64) -> Self {
        Self(format!("{row}-{seed:016x}"))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A value that a build holds for as long as anything of the build goes on in the engine, even if nobody
/// waits for the build any more.
#[derive(Clone, Default)]
pub struct BuildPermit(Option<Arc<dyn Any + Send + Sync>>);

impl BuildPermit {
    /// Returns a hold that keeps `permit` until its last clone is dropped.
    pub fn new(permit: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(permit)))
    }
}

impl fmt::Debug for BuildPermit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Hold")
            .field(&self.0.is_some())
            .finish()
    }
}

/// A request for one build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The program whose source tree is built.
    pub program: ProgramId,
    /// Tells which program of that name this is.
    pub incarnation: Incarnation,
    /// The id of the source tree, which names the image.
    pub build: BuildId,
    /// The folder with the source tree and the Dockerfile that the rules name.
    pub context_dir: PathBuf,
    /// The file for the build log. The build makes the file anew and bounds its size.
    pub log_path: PathBuf,
    /// How the image is made of the tree, and what the build steps may reach.
    pub rules: BuildRules,
    /// How many bytes may be written before the disks are nearly full; `None` if that is not known.
    pub free_bytes: Option<u64>,
    /// Dropped once nothing of the build goes on in the engine.
    pub permit: BuildPermit,
    /// Cancels the build. [`BuildError::Cancelled`](crate::BuildError) follows once nothing of the build
    /// goes on.
    pub cancel: CancellationToken,
}

impl BuildRequest {
    /// Returns the path of the Dockerfile within the tree.
    #[must_use]
    pub fn dockerfile(&self) -> &str {
        self.rules.recipe.dockerfile()
    }
}

/// One unit of a limit. Work holds the permit until it ends, also when its caller is gone: otherwise
/// callers that give up could cause more work at once than the limit allows. Dropping the permit frees
/// the unit.
pub type Permit = Box<dyn Send>;

/// An instance that was started.
#[derive(Clone, Debug)]
pub struct RunningInstance {
    /// The id that the runtime gave the instance.
    pub container: ContainerId,
    /// The way by which the host reaches the instance.
    pub endpoint: Endpoint,
    /// The receipt of what was verified.
    pub receipt: Receipt,
}

/// The end of an instance, by itself or by order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceEnd {
    /// The instance.
    pub instance: InstanceId,
    /// The id that the runtime gave the instance.
    pub container: ContainerId,
    /// How the instance ended, with the last lines of its output.
    pub exit: Exit,
}

/// A function that is called for each dead instance, with the id that the runtime gave the instance.
pub type DeathListener = Box<dyn Fn(&InstanceId, &ContainerId) + Send + Sync>;

/// One instance of this host, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInstance {
    /// The instance.
    pub instance: InstanceId,
    /// The id that the runtime gave the instance.
    pub container: ContainerId,
    /// Whether the instance runs now.
    pub running: bool,
}

/// A description of the runtime of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// The name of the engine, such as `Docker engine`.
    pub name: &'static str,
    /// The version of the engine.
    pub version: String,
    /// Other facts worth knowing, by name.
    pub facts: BTreeMap<&'static str, String>,
    /// The kernel that programs run on.
    pub kernel: Kernel,
}

/// The builds and images that must not be collected, that is, removed as unused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedImages {
    /// Builds that programs start from, or make right now.
    pub builds: BTreeSet<(ProgramId, BuildId)>,
    /// Images that programs run or start from.
    pub images: BTreeSet<ImageId>,
}

/// How long things that nobody uses stay all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long the remains of failed builds stay after they were made, so that the next attempt need not
    /// repeat the work.
    pub failed_builds: Duration,
    /// How long fetched base images stay after the last build from them.
    pub fetched_images: Duration,
}

impl Retention {
    /// Keeps nothing that nobody uses.
    pub const NOTHING: Self = Self {
        failed_builds: Duration::ZERO,
        fetched_images: Duration::ZERO,
    };
}

/// How many things were collected, by their kind, such as `images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionCounts(pub BTreeMap<&'static str, usize>);

impl CollectionCounts {
    /// Counts `more` of one kind.
    pub fn add(&mut self, what: &'static str, more: usize) {
        if more > 0 {
            *self.0.entry(what).or_default() += more;
        }
    }

    /// Returns how many of one kind were collected.
    #[must_use]
    pub fn of(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Returns whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The resources that a running instance uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time since the instance was started, microseconds.
    pub cpu_us: u64,
    /// Memory of the sandbox, bytes. Cached files that the kernel could drop do not count.
    pub memory_bytes: u64,
    /// The limit on memory, bytes.
    pub memory_limit_bytes: u64,
    /// Processes and threads of the sandbox on this machine's kernel.
    pub pids: u64,
    /// Received over the network, bytes.
    pub received_bytes: u64,
    /// Sent over the network, bytes.
    pub sent_bytes: u64,
}
