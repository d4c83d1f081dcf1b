//! The runtime against a real Docker Engine with real gVisor. `make test` brings both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod build_attacks;
mod build_network;
mod builds;
mod certainties;
mod collect;
mod confinement;
mod engine_faults;
mod forged;
mod ignore;
mod life;
mod logs;
mod meddler;
mod neighbours;
mod network;
mod own_engine;
mod processes;
mod reconnects;
mod source_trees;
mod starts;
mod stats;
mod suite;
mod trials;
mod uninstall;
mod user_entry;
mod world;
