//! The reducer-effect engine.
#![no_std]
extern crate alloc;

mod id;
mod step;

pub use id::OpId;
pub use step::{Cx, Lane, Machine, Record};
