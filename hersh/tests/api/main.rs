//! The WatcherAPI over real sockets: shapes, error codes, limits, events, attacks, crowds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "api")]

mod attacks;
mod basics;
mod client;
mod crowd;
mod document;
mod effects;
mod events;
mod health;
mod messages;
mod shapes;
mod socket;
