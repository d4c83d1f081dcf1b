//! What all other crates of a host build on: time and randomness, work that nobody cuts short, turns,
//! limits per user, the pace of a client, files that appear whole, the right by which something is done,
//! the text form of a token, and what a sandbox and its host agree on.
//!
//! This crate holds nothing of what a host is about: no state of a program, no runtime, no SQL, no HTTP.
//! Of our own crates it uses only those with the engine's clock and with the ids of users and programs.

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
