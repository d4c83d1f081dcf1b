//! What the command says to people and to programs, beside a host that is made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

mod certificates;
mod deploys;
mod failures;
mod made_up;
mod rollouts;
mod terminal;
