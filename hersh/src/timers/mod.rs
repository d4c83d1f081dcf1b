//! Durable timers: what is due when, kept in the durable context.
//!
//! ```text
//! at, after, every ──► entry in the context ──► the engine wakes when the first is due
//!                           ▲                            │
//!                           └── the next due time ◄── a run takes in all that are due, and commits
//! ```
//! A timer is a key of the context, `hersh:timer:NAME`, so it is committed with its run, survives restarts, and a
//! replay needs nothing but the recorded time of each run.

mod cron;
mod entry;
mod index;

pub(crate) use cron::Cron;
pub(crate) use entry::{Entry, KEY_PREFIX, Rule};
pub(crate) use index::{Due, Index};
