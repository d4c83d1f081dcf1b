//! Defines what exactly runs of a program, the contracts that the program must keep, and what a runtime
//! and a builder have to do.
//!
//! ```text
//! Manifest ─► Spec ─► validate ─► Runtime::start ─► [Fact] ─► verify, verify_running ─► Receipt
//! ```
//! This crate is pure, but for the traits [`Runtime`] and [`Builder`], which the crates of runtimes
//! implement: it does no IO, and names no disk, no database and no engine.

mod builder;
mod contract;
mod error;
mod finding;
pub mod property;
mod receipt;
mod runtime;
mod spec;
#[cfg(feature = "testkit")]
pub mod testkit;
mod types;
mod verify;

pub use builder::Builder;
pub use contract::{Contract, Violation};
pub use error::{BuildError, StartError, StopError, Unavailable};
pub use finding::{Finding, Severity};
pub use property::Kernel;
pub use receipt::Receipt;
pub use runtime::{EVENT_QUEUE, Runtime, STARTS_AT_ONCE};
pub use spec::{Bounds, HOME, MEMORY_FOLDERS, PROBE_TARGET, STATE_TARGET, Spec, StatePlace, user};
pub use types::{
    BuildPermit, BuildRequest, CollectionCounts, DeathListener, Incarnation, InstanceEnd,
    ListedInstance, Permit, Retention, RunningInstance, RuntimeInfo, Stats, UsedImages,
};
pub use verify::{
    ContractProofs, Evidence, Fact, MIN_MEMORY_BYTES, MIN_PIDS, Proof, validate, verify,
    verify_running,
};
