//! What every room of a host takes for granted: time and randomness, work that nobody cuts short, turns,
//! bounds by user, the pace of a client, files that appear whole, by what right something is done, how a
//! token is written, and what a sandbox and its host agree on.
//!
//! Nothing of what a host is about comes in here: no program's state, no runtime, no SQL, no HTTP. Of ours
//! it knows the engine's clock and the ids that users and programs go by.

pub mod deadline;
pub mod detached;
pub mod endpoint;
pub mod hex;
pub mod lock;
pub mod locked;
pub mod pace;
pub mod partial;
pub mod permits;
pub mod right;
pub mod sandbox;
pub mod surroundings;
pub mod token_text;
pub mod turns;
