//! Reducers and their effects: a pure state machine, the bookkeeping around it, and the loop that drives it.
//!
//! ```text
//!            offer                 step                      run
//!  senders ────────► [`Mailbox`] ──────► [`Stepper`] ──────────────► handler
//!                        ▲              state, open ops   effects       │
//!                        └──────────────────────────────────────────────┘
//!                                     events (outcomes)
//! ```
//! A [`Machine`] is `reduce(state, event, now) -> state + effects` and nothing else. Without features this
//! crate is `no_std` and does no IO. Feature `tokio` adds [`driver`], the one event loop. Feature `sim` adds
//! [`sim`], which steps a state machine through a simulation from a seed; with both, [`driver`] has a journal
//! in memory, for tests.
#![no_std]
extern crate alloc;
#[cfg(feature = "tokio")]
extern crate std;

mod id;
mod mailbox;
mod random;
mod replay;
mod step;
mod stepper;

#[cfg(feature = "tokio")]
pub mod driver;
#[cfg(feature = "sim")]
pub mod sim;

pub use id::OpId;
pub use mailbox::{Capacity, Mailbox};
pub use random::SplitMix64;
pub use replay::Divergence;
pub use step::{Lane, Machine, Record, RecordOf, StepContext};
pub use stepper::{OpenOperation, Snapshot, Step, Stepper};
