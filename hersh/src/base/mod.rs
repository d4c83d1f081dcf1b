//! What every folder may use and what knows none of them: time, locks and the bell, panics of a
//! user's code, frames of bytes. No signal passes through here.

pub(crate) mod clock;
pub(crate) mod frame;
pub(crate) mod panics;
pub(crate) mod sync;
