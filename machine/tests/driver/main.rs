//! The driver under paused time: order, cancellation, bounds, durability, recovery.
#![cfg(all(feature = "sim", feature = "tokio"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;
mod effects;
mod journal;
mod lifecycle;
mod recovery;
mod scene;
