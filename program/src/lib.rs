//! The lifecycle of a program.
#![no_std]
extern crate alloc;

mod effect;
mod event;
mod manifest;
mod types;

pub use effect::Effect;
pub use event::Event;
pub use hersh_machine::OpId;
pub use manifest::{Limits, Manifest, NetworkMode, Readiness, RestartPolicy, Timeouts};
pub use types::{
    BuildId, Cause, ContainerId, Exit, ExitReason, IdError, ImageId, Logs, Observed, ProgramId,
    Refusal, Source, Started,
};
