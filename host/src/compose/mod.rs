//! What exactly would run, and the contracts that it must keep. Pure: nothing here does IO.
//!
//! ```text
//! Manifest ─► Spec::new ─► validate ─► (runtime creates) ─► Inspected ─► verify ─► Receipt
//!                 └► to_compose_yaml: a file that anyone can read
//! ```

mod contracts;
mod receipt;
mod spec;

pub use contracts::{Contract, Verified, Violation};
pub use receipt::Receipt;
pub use spec::{
    Environment, HOST_LABEL, Mount, PROGRAM_LABEL, RuntimeMode, SANDBOX_ID, Spec, Tmpfs,
};
