//! What goes into and comes out of a [`Runtime`](crate::Runtime).

use std::{
    any::Any, collections::BTreeSet, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration,
};

use hersh_program::{BuildId, BuildRules, ContainerId, Exit, ImageId, InstanceId, ProgramId};
use tokio_util::sync::CancellationToken;

use crate::{Receipt, RuntimeMode};

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
    /// Holds `place`.
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(place)))
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

/// A place among the starts that are under way; whoever drops it gives it to the next.
pub type StartTurn = Box<dyn Send>;

/// An instance that was started.
#[derive(Clone, Debug)]
pub struct Running {
    /// What the runtime calls it.
    pub container: ContainerId,
    /// Where the host reaches it; `None` without a network.
    pub address: Option<IpAddr>,
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

/// What answers behind the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine's version.
    pub version: String,
    /// The version of its API that is spoken.
    pub api_version: String,
    /// The runtimes that it knows, sorted.
    pub runtimes: Vec<String>,
    /// Whether programs are sandboxed.
    pub mode: RuntimeMode,
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
    /// Layers of failed builds, since they were made: the next attempt need not repeat them.
    pub failed_layers: Duration,
    /// Base images that were fetched, since somebody built from them.
    pub fetched_images: Duration,
}

impl Retention {
    /// Nothing stays.
    pub const NOTHING: Self = Self {
        failed_layers: Duration::ZERO,
        fetched_images: Duration::ZERO,
    };
}

/// How much was collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectedImages {
    /// Images by name.
    pub images: usize,
    /// Layers of failed builds, each with those below it.
    pub layers: usize,
    /// Base images that were fetched.
    pub fetched: usize,
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
