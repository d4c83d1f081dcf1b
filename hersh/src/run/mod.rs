//! Makes runs: the loop around the engine, on a thread of its own, and what it keeps of each run.
//!
//! ```text
//! inbox ─► step_loop ◄─► engine (pure)
//!            │ effects, operations
//!          runner ──► your function over the context
//!            ├──► recorder ─► journal
//!            └──► store, log
//! ```

mod context;
mod managed;
mod note;
mod operation;
mod prepared;
mod recorder;
mod runner;
mod step_loop;

pub use context::{Context, Effects, Timer, Triggered, Watched, blocking};
pub(crate) use context::{ContextParts, Sources};
pub(crate) use managed::CleanupFn;
pub(crate) use prepared::WatcherParts;
pub(crate) use recorder::{Recorder, Session};
