//! The lifecycle of a program, as a pure state machine.
//!
//! ```text
//!   command or fact          effects                      outcomes
//!  ────────────────► [`Lifecycle`] ───────► [`EffectHandler`] ───────┐
//!                     state [`Program`] ◄────────────────────────────┘
//! ```
//! Without features this crate is `no_std` and does no IO. Feature `tokio` adds [`Supervisor`], which keeps
//! one program alive, and [`EffectHandler`], the contract of the code that carries out effects:
//!
//! ```
//! # #[cfg(all(feature = "fake", feature = "tokio"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::sync::Arc;
//! # use hersh_machine::driver::{Config, MemoryJournal, SystemClock};
//! # use hersh_program::*;
//! # let id = ProgramId::parse("counter")?;
//! # let source = Source {
//! #     build: BuildId::parse("build-0123456789ab")?,
//! #     manifest: Arc::new(Manifest::default()),
//! # };
//! # let (seed, handler, journal) = (7, Arc::new(FakeHandler::instant()), MemoryJournal::default());
//! # let config = Config::default();
//! let program = Program::new(id, source, seed);
//! let stepper = ProgramStepper::new(program.clone());
//! let supervisor = Supervisor::run(stepper, handler.clone(), journal.clone(), SystemClock, config);
//! supervisor.call(Event::UserStartRequested).await?; // durable and answered: now Building
//! let ready = supervisor.settled().await; // Ready, or Error with its cause
//! println!("{}", ready.state.name());
//!
//! // What the host observes:
//! # let container = ContainerId::parse("0123456789ab")?;
//! # let exit = Exit { reason: ExitReason::Code(0), logs: Vec::new() };
//! let instance = InstanceNumber(1);
//! supervisor.send(Event::InstanceEnded { instance, container, exit })?;
//! # supervisor.stop();
//! # supervisor.stopped().await;
//!
//! // After a restart of the host:
//! let mut stepper = ProgramStepper::new(program);
//! stepper.fold(journal.records())?;
//! let supervisor = Supervisor::run(stepper, handler, journal, SystemClock, config);
//! # Ok(())
//! # }
//! # #[cfg(all(feature = "fake", feature = "tokio"))]
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(example()).unwrap();
//! ```
#![no_std]
extern crate alloc;
#[cfg(all(feature = "fake", feature = "tokio"))]
extern crate std;

mod effect;
#[cfg(feature = "tokio")]
mod effect_handler;
mod event;
#[cfg(all(feature = "fake", feature = "tokio"))]
mod fake_handler;
#[cfg(feature = "fake")]
mod fake_world;
mod ids;
mod invariants;
mod manifest;
mod queries;
pub mod recovery;
mod reducer;
mod rest;
mod restarts;
mod revision;
mod rules;
mod state;
#[cfg(feature = "tokio")]
mod supervisor;
mod types;
mod up;
mod way_up;
mod words;

pub use effect::Effect;
#[cfg(feature = "tokio")]
pub use effect_handler::{EffectHandler, OperationContext};
pub use event::Event;
#[cfg(all(feature = "fake", feature = "tokio"))]
pub use fake_handler::FakeHandler;
#[cfg(feature = "fake")]
pub use fake_world::FakeWorld;
pub use hersh_machine::OpId;
pub use ids::{
    BuildId, ContainerId, IdError, ImageId, InstanceId, InstanceNumber, Instances, ProgramId,
    RevisionNumber, UserId,
};
pub use manifest::{
    BuildRules, DeployStrategy, Limits, Liveness, LivenessProbe, Manifest, NetworkMode, OnNotAlive,
    ProxyRules, Readiness, Recipe, RestartPolicy, Timeouts, WATCHER_HEALTH_PATH,
    WATCHER_STATUS_PATH,
};
pub use reducer::{
    BUILD_QUEUE_MS, CHECK_TIMEOUT_MS, HANDLER_SLACK_MS, Lifecycle, REMOVE_TIMEOUT_MS,
    START_QUEUE_MS, STOP_SLACK_MS,
};
pub use rest::{Failed, Rest, Retry, Stopped};
pub use restarts::Restarts;
pub use revision::{
    PlannedStart, Revision, RevisionNote, Revisions, RolloutEnd, RolloutOutcome, StartKind,
};
pub use rules::Rules;
pub use state::{AfterStop, Program, State, StopStep, Stopping};
#[cfg(feature = "tokio")]
pub use supervisor::{
    CommandError, ProgramRecord, ProgramSnapshot, ProgramStepper, Subscription, Supervisor,
};
pub use types::{Cause, Exit, ExitReason, InstanceStatus, Logs, Refusal, Source, StartResult};
pub use up::{Check, LeavingInstance, NotAlive, Ready, Rollout, RolloutStep};
pub use way_up::{AfterBuild, BuildStep, Building, Starting};
pub use words::{ExitCode, RoundedSize, RoundedSpan};
