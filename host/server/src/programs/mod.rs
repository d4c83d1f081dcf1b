//! The programs of a host: which there are, what is kept of each, and what their users may ask for.
//!
//! ```text
//! Registry ─► ProgramEntry ─► Supervisor ─► Journal (of one program) ─► StateLog (a line in the log)
//! ```

pub(crate) mod admission;
mod entry;
mod journal;
pub(crate) mod last_reading;
mod pauses;
mod registry;
mod route;
mod state_log;
mod state_readings;

pub(crate) use entry::ProgramEntry;
pub(crate) use journal::ProgramJournal;
pub(crate) use registry::Registry;
pub(crate) use state_log::StateLog;
pub(crate) use state_readings::{LOOK_INTERVAL, StateReadings};
