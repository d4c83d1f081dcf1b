//! See the crate's description.

pub mod compose;
pub mod runtime;
pub mod storage;
