//! The whole system: the real command, a real host, a real engine, real gVisor, real SQLite.

mod bad_input;
mod crash;
mod lifecycle;
mod support;
