//! What goes into and comes out of a [`Runtime`](crate::Runtime) and a [`Builder`](crate::Builder).

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

/// Which of all programs that ever had a name one is. A name is given again once its program was
/// removed, a making never: what one program left in an engine's cache is not for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making(String);

impl Making {
    /// That of the program in row `row` of a journal, which counts on and on, and with this seed, which
    /// tells rows apart that a restored journal gives once more.
    #[must_use]
    pub fn new(row: i64, seed: u64) -> Self {
        Self(format!("{row}-{seed:016x}"))
    }
}

impl fmt::Display for Making {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a build holds as long as anything of it goes on in the engine, whoever still waits for it.
#[derive(Clone, Default)]
pub struct Hold(Option<Arc<dyn Any + Send + Sync>>);

impl Hold {
    /// Holds `permit`.
    pub fn new(permit: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(permit)))
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Hold")
            .field(&self.0.is_some())
            .finish()
    }
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Whose.
    pub program: ProgramId,
    /// Which program of that name.
    pub making: Making,
    /// Which source tree; names the image.
    pub build: BuildId,
    /// The tree, with the Dockerfile that the rules name.
    pub context_dir: PathBuf,
    /// The file that takes the build log: made anew, bounded.
    pub log_path: PathBuf,
    /// What is made of the tree, and what its steps may reach.
    pub rules: BuildRules,
    /// What may be written to the disks until they are nearly full, bytes, as far as that is known.
    pub room_bytes: Option<u64>,
    /// Let go once nothing of the build goes on in the engine.
    pub held: Hold,
    /// Ends the build; [`BuildError::Cancelled`](crate::BuildError) follows once it is gone.
    pub cancel: CancellationToken,
}

impl BuildRequest {
    /// Where in the tree the Dockerfile stands.
    #[must_use]
    pub fn dockerfile(&self) -> &str {
        self.rules.recipe.dockerfile()
    }
}

/// One unit of a limit, held by work that goes on when its caller is gone; dropped, it is the next one's.
pub type Permit = Box<dyn Send>;

/// An instance that was started.
#[derive(Clone, Debug)]
pub struct Running {
    /// What the runtime calls it.
    pub container: ContainerId,
    /// How the host reaches it.
    pub endpoint: Endpoint,
    /// What was verified.
    pub receipt: Receipt,
}

/// An instance ended by itself or by order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// The instance.
    pub instance: InstanceId,
    /// What the runtime calls it.
    pub container: ContainerId,
    /// How, with its last lines.
    pub exit: Exit,
}

/// Told of an instance that is dead, with what the runtime calls it.
pub type OnDeath = Box<dyn Fn(&InstanceId, &ContainerId) + Send + Sync>;

/// One instance of this host, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInstance {
    /// The instance.
    pub instance: InstanceId,
    /// What the runtime calls it.
    pub container: ContainerId,
    /// Whether it runs now.
    pub running: bool,
}

/// What runs programs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Its name, such as `Docker engine`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// What else is worth knowing, by name.
    pub facts: BTreeMap<&'static str, String>,
    /// The kernel that programs run on.
    pub kernel: Kernel,
}

/// What must not be collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Builds that programs start from, or make right now.
    pub builds: BTreeSet<(ProgramId, BuildId)>,
    /// Images that programs run or start from.
    pub images: BTreeSet<ImageId>,
}

/// How long what nobody refers to stays all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What failed builds left, since it was made: the next attempt need not repeat it.
    pub failed_builds: Duration,
    /// Base images that were fetched, since somebody built from them.
    pub fetched_images: Duration,
}

impl Retention {
    /// Nothing stays.
    pub const NOTHING: Self = Self {
        failed_builds: Duration::ZERO,
        fetched_images: Duration::ZERO,
    };
}

/// How much was collected, by what it is, such as `images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected(pub BTreeMap<&'static str, usize>);

impl Collected {
    /// Counts `more` of one kind.
    pub fn add(&mut self, what: &'static str, more: usize) {
        if more > 0 {
            *self.0.entry(what).or_default() += more;
        }
    }

    /// How many of one kind.
    #[must_use]
    pub fn of(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a running program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time since its container was started, microseconds.
    pub cpu_us: u64,
    /// Memory of the sandbox, without files that can be dropped from it, bytes.
    pub memory_bytes: u64,
    /// Its limit, bytes.
    pub memory_limit_bytes: u64,
    /// Processes and threads of the sandbox on this machine's kernel.
    pub pids: u64,
    /// Received over the network, bytes.
    pub received_bytes: u64,
    /// Sent over the network, bytes.
    pub sent_bytes: u64,
}
