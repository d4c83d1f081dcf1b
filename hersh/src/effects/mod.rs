//! Acts on the world for runs: what a run asked for is done after the run is committed, beside other runs,
//! and what came of it comes back as a signal.
//!
//! ```text
//! run ──start──► staged ──commit──► ledger ──► desk ──► attempts ──► your function
//!  ▲                                  ▲          │ one at a time for a key, so many at once
//!  └── a run of its own ◄── inbox ◄───┴─commit───┘ what came of it
//! ```
//! The desk decides what begins when, `attempts` brings one effect to its end. Both act on what is committed
//! alone: after a crash the ledger says all there is to know.

mod act;
mod attempts;
mod books;
mod desk;
mod lane;
mod outcome;
mod policy;

pub(crate) use act::Act;
pub(crate) use desk::Desk;
pub use outcome::{Outcome, SettledEffect};
pub use policy::Policy;
pub(crate) use policy::Promise;
