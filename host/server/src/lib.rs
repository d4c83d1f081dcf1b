//! A Hersh host: takes programs in, runs them under contracts, keeps them alive.
//!
//! ```text
//! HTTP request ─► api ─► Host ─► Supervisor (pure machine, crate hersh-program)
//!                                  │ journal first (journal), then effects (effects)
//!                                  ▼
//!                     storage · sandbox · docker  ─► events ─► Supervisor
//! ```
//!
//! The way of a command by three files: `api/programs.rs`, `host/mod.rs`, `effects.rs`.

mod admission;
mod adopt;
mod api;
mod auth;
mod building;
mod collect;
pub mod config;
mod convert;
pub mod doctor;
mod effects;
mod elsewhere;
mod head_timer;
mod host;
mod idempotency;
mod line;
mod linger;
mod metrics;
mod orphans;
mod overuse;
mod peers;
pub mod preflight;
mod probes;
mod program_journal;
mod quota;
mod readiness;
mod reading;
mod registry;
mod seats;
mod serve;
mod server;
mod service;
mod space;
mod story;
mod supervise;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tls;
mod unclaimed;
mod workers;

pub use adopt::{AdoptError, Adoption, adopt};
pub use auth::{IssueError, Issued, issue_admin_token, valid_tokens};
pub use config::{Config, ConfigError, EngineSocket, Settings};
pub use serve::{HostError, serve};
pub use tls::TlsError;
pub use unclaimed::Unclaimed;
pub use workers::WorkerEnded;
