//! What exactly would run, and the contracts that it must keep. Pure: nothing here does IO.
//!
//! ```text
//! Manifest ─► Spec::new ─► validate ─► (runtime creates) ─► Inspected ─► verify ─► Receipt
//!                 └► to_compose_yaml: a file that anyone can read
//! ```

mod contracts;
mod file;
mod receipt;
mod rules;
mod spec;
mod verify;

pub use contracts::{Contract, Verified, Violation};
pub use file::to_compose_yaml;
pub use receipt::Receipt;
pub use rules::{MIN_MEMORY_BYTES, MIN_PIDS, validate};
pub use spec::{
    CACHE_LABEL, ENGINE_DEFAULT, Environment, HOME, HOST_LABEL, INSTANCE_LABEL, LAYER_LABEL,
    MEMORY_FOLDERS, Mount, Namespaces, PROBE_TARGET, PROGRAM_LABEL, RuntimeMode, Sandbox, Spec,
    Tmpfs,
};
pub(crate) use spec::{container_name, network_name};
pub use verify::{Inspected, verify};
