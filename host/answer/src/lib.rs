//! The reader of what a program answers over HTTP/1.
//!
//! ```text
//! bytes ──► HeadReader ──► 1xx (for nobody) | 101 with all headers | Head: status, headers, Framing
//!                                                                                          │
//! bytes ───────────────────────────────────────────────────────────────────────────► pieces of a body
//! ```
//!
//! Programs are hostile, so their bytes are read here and nowhere else: by a crate that does no IO, knows
//! no other crate of the host and can reach nothing. Bytes that two readers could take differently are
//! refused. Tests and a fuzzer give the same bytes to the client of hyper. If hyper would not read them as
//! this crate does, they are refused, too, or the difference is on a list with its reason.

mod framing;
mod head;
mod head_reader;
mod policy;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use self::{
    framing::{Chunk, Framing, FramingError, Piece},
    head::{FinalHead, Head, HeadError, ReceivedHead},
    head_reader::{HeadReader, HeadReaderError},
    policy::{Policy, VisibleHeader},
};
