//! The pure half of a watcher: what it does next, given what happened.
//!
//! ```text
//! NotRun ──Started──► Running(Init) ──ok──► Ready ◄──────────────┐
//!                          │                  │ signal            │ ok, saved; or too many failures
//!                          │ failure          ▼                   │ of a message: it is set aside
//!                          ▼               Running ───────────────┤
//!                       Delay ──RetryDue──► Running(Recover) ─────┘
//!                          │ too many other failures
//! any ──end asked──► Cleaning ──► (Saving) ──► Ended: Stopped, Killed or Crashed
//! ```
//!
//! Nothing here reads a clock, touches a value or calls the managed function: the state holds
//! counts, operation ids and due times. The contents of messages and variables stay in the inbox
//! until the run that takes them in, those of settled effects in the ledger. `run` brings the events and carries the effects out. How a
//! watcher ends and what failures lead to ([`Ending`], [`Recovery`]) are words of this folder.

mod effect;
mod ending;
mod event;
mod recovery;
mod reducer;
mod state;
mod steps;
mod transitions;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod table;

pub(crate) use effect::{Effect, Note};
pub use ending::{EndKind, Ending, WatcherState};
pub(crate) use event::{Blame, Event, Outcome};
pub use recovery::{Recovery, Verdict};
pub(crate) use reducer::Engine;
pub(crate) use state::{CarriedSignal, Phase, Policy, RunKind, State};
