//! A Hersh host: takes programs in, runs them under contracts, keeps them alive.
//!
//! ```text
//! HTTP request ─► api ─► Host ─► Supervisor (pure state machine, crate hersh-program)
//!                                  │ journal first (journal), then effects (effects)
//!                                  ▼
//!                     storage · sandbox · docker  ─► events ─► Supervisor
//! ```
//!
//! Three files show the way of a command: `api/programs.rs`, `host/mod.rs`, `effects/mod.rs`.

mod api;
mod auth;
pub mod config;
mod connections;
mod disks;
pub mod doctor;
mod effects;
mod host;
mod idempotency;
mod limits;
mod metrics;
pub mod preflight;
mod programs;
mod recover;
mod serve;
mod service;
mod set_aside;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tls;
mod unclaimed;
mod words;
mod workers;

pub use auth::{IssueError, IssuedToken, issue_admin_token, valid_tokens};
pub use config::{Config, ConfigError, EngineSocket, Settings};
pub use serve::{HostError, serve};
pub use set_aside::{SetAsideError, SetAsideReport, set_aside};
pub use tls::TlsError;
pub use unclaimed::UnclaimedPrograms;
pub use workers::WorkerEnded;
