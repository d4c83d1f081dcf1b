//! A whole host without an engine: for tests, simulations and measurements.
//!
//! ```text
//! FakeEngine (outlives hosts) ◄── FakeRuntime ◄── TestHost: real API, supervision, journal, storage
//! ```
//! ```
//! # use std::sync::Arc;
//! # use hersh_host::testkit::{FakeEngine, Setup, TestHost};
//! # async fn example(data: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Arc::new(FakeEngine::default());
//! let host = TestHost::start(Setup::new(data, &engine)?).await?;
//! let (status, _) = host.ask("POST", "/programs/counter/start?wait=30s", b"").await;
//! host.shut_down(); // programs stay in the engine, the next host on this folder finds them
//! # Ok(())
//! # }
//! ```
//! With [`Setup::simulated`], on a current-thread runtime with paused time, a host takes time and
//! randomness from a seed and blocks nowhere, so that one seed gives one trace; its journal can
//! refuse, linger or die at any [`CommitPoint`].

mod builder;
mod engine;
mod engine_link;
mod host;
mod operation;
mod process;
mod remote;
mod runtime;
mod silence;
mod simulation;
mod trouble;
mod turns;
mod world;

pub use engine::FakeEngine;
pub use hersh_journal::{CommitPoint, WriteFate};
pub use host::{Setup, TestHost};
pub use operation::{Answer, EndedInstance, Fate, Operation, OperationOutcome, Reply, Trouble};
pub use process::Process;
pub use remote::serve as serve_engine;
pub use runtime::FakeRuntime;
pub use silence::Silence;
pub use simulation::{ProgramHistory, ProgramStep};
