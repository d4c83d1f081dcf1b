//! Pages to read, without code of their own.
//!
//! - [`guarantees`]: what holds about order, loss, duplication and determinism.
//! - [`choosing`]: which hook for what.
//! - [`acting`]: how a watcher acts on the world, once and not twice.
//! - [`coming_from`]: for people who know actors, or React's hooks.

pub mod acting;
pub mod choosing;
pub mod coming_from;
pub mod guarantees;
