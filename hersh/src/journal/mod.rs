//! The journal: what every run took in and what came of it, so that it can be replayed.
//!
//! ```text
//! run ──► RecordedRun ──► frame ──► buffer ──write──► part 7 ──full──► part 8 …
//!         (record.rs)   (frame.rs)        (writer.rs)   each begins with context and variables
//! ```
//! A journal is a folder of parts, `000000000007.journal`; the oldest is removed when there is too
//! much. A part begins with all that a replay of it alone needs. Parts are only ever appended
//! to, so a crash at any byte leaves a readable prefix.
//!
//! What can be lost: a crash of the process loses at most the runs since the engine was last idle,
//! or [`BUFFER_BYTES`] of them. A power cut also loses what was written since the last finished
//! sync; a sync begins a second after a write. The durable context does not depend on the journal:
//! it has a file and a sync of its own.

mod acts;
mod frame;
mod parts;
mod reader;
mod record;
mod saves;
mod taken;
mod writer;

pub(crate) use acts::{RecordedActs, RecordedAsk, RecordedSettlement};
pub(crate) use reader::{Journal, LocatedEntry, ReadError};
pub(crate) use record::{
    Entry, Part, RecordedOutcome, RecordedRun, RecordedUpdate, RecordedValue, SavedVariable,
    VERSION,
};
pub(crate) use taken::RunCapture;
pub(crate) use writer::{JournalState, JournalWriter};

/// Most bytes of records that wait in memory while the engine is busy.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// The bounds of a journal on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of its runs at which a part is full. A part exceeds that by one run at most, and also
    /// holds the context and the variables that it begins with.
    pub part_bytes: u64,
    /// Most bytes of the finished parts together; the oldest is removed first. There are never more
    /// than 1,000 parts.
    pub total_bytes: u64,
}

impl Default for JournalLimits {
    /// Returns limits with parts of 8 MiB, 64 MiB in all.
    fn default() -> Self {
        Self {
            part_bytes: 8 * 1024 * 1024,
            total_bytes: 64 * 1024 * 1024,
        }
    }
}
