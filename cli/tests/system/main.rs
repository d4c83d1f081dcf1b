//! The whole system: the real command, a real host, a real engine, real gVisor, real SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

mod bad_input;
mod config;
mod crash;
mod daily;
mod engine_restart;
mod examples;
mod follow;
mod full_disk;
mod kill_rollouts;
mod kills;
mod lifecycle;
mod liveness;
mod load;
mod lost_journal;
mod overlap;
mod policies;
mod real_programs;
mod rollouts;
mod scale;
mod service;
mod state_limits;
mod support;
mod tls;
