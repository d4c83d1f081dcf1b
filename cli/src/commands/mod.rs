//! One file per group of commands.

pub(crate) mod accounts;
mod admin_token;
pub(crate) mod archive;
mod build_query;
pub(crate) mod context;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod events;
mod follow;
pub(crate) mod host;
mod host_view;
pub(crate) mod inbox;
pub(crate) mod journal;
mod liveness;
pub(crate) mod logs;
pub(crate) mod programs;
pub(crate) mod remove;
pub(crate) mod revisions;
pub(crate) mod roll_back;
mod rollout;
#[cfg(test)]
mod sample;
mod set_aside;
pub(crate) mod state;
pub(crate) mod watcher;
