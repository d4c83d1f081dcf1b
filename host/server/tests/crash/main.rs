//! Crashes: of the host at random instants and at every point of its journal, of backups and
//! restores; and what a start costs with very many programs. The engine is a fake one that lives
//! on; API, journal, storage and supervision are real.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

mod backups;
mod child;
mod client;
mod many;
mod model;
mod points;
mod rollouts;
mod rounds;
