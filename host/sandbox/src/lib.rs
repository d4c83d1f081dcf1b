//! What exactly runs of a program, the contracts that it must keep, and what a runtime has to do.
//!
//! ```text
//! Manifest ─► Spec::new ─► validate ─► Runtime::start ─► Inspected ─► verify ─► Receipt
//!                 └► to_compose_yaml: a file that anyone can read
//! ```
//! Pure, but for the trait [`Runtime`], which the crates of runtimes implement: no IO, no name of a
//! disk, a database or an engine's library comes in here.

mod compose_file;
mod contract;
mod error;
mod finding;
mod receipt;
mod rules;
mod runtime;
mod spec;
mod types;
mod verify;

pub use compose_file::to_compose_yaml;
pub use contract::{Contract, Verified, Violation};
pub use error::{BuildError, StartError, StopError, Unavailable};
pub use finding::{Finding, Verdict};
pub use receipt::Receipt;
pub use rules::{MIN_MEMORY_BYTES, MIN_PIDS, validate};
pub use runtime::{EVENT_QUEUE, Runtime, STARTS_AT_ONCE};
pub use spec::{
    CACHE_LABEL, ENGINE_DEFAULT, Environment, HOME, HOST_LABEL, INSTANCE_LABEL, LAYER_LABEL,
    MEMORY_FOLDERS, Mount, Namespaces, PROBE_TARGET, PROGRAM_LABEL, RuntimeMode, Sandbox, Spec,
    Tmpfs, container_name, network_name,
};
pub use types::{
    BuildRequest, CollectedImages, EngineInfo, Hold, InUse, ListedInstance, Making, OnDeath,
    Retention, Running, RuntimeEvent, StartTurn, Stats,
};
pub use verify::{Inspected, verify};
