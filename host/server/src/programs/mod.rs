//! The programs of a host: which there are, what is kept of each, and what their users may ask for.
//!
//! ```text
//! Registry ─► Entry ─► Supervisor ─► Journal (of one program) ─► Story (a line in the log)
//! ```

pub(crate) mod admission;
mod entry;
mod journal;
pub(crate) mod last_reading;
mod registry;
mod state_readings;
mod story;

pub(crate) use entry::Entry;
pub(crate) use journal::ProgramJournal;
pub(crate) use registry::Registry;
pub(crate) use state_readings::{LOOK_INTERVAL, StateReadings};
pub(crate) use story::Story;
