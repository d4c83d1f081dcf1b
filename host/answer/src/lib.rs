//! The reader of what a program answers over HTTP/1.
//!
//! ```text
//! bytes ──► Hearing ──► 1xx (for nobody) | 101 with all headers | Head: status, headers, Framing
//!                                                                                          │
//! bytes ───────────────────────────────────────────────────────────────────────────► pieces of a body
//! ```
//!
//! Programs are hostile, so their bytes are read here and nowhere else: by a crate that does no IO,
//! knows no other crate of the host and can reach nothing. What two readers could take differently
//! is refused. The same bytes are given to the client of hyper, by tests and by a fuzzer, and
//! whatever it would not read as we do is refused too, or on a list with its reason.

mod framing;
mod head;
mod hearing;
mod policy;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use self::{
    framing::{Chunk, Framing, FramingError, Piece},
    head::{Head, HeadError, Said, Spoken},
    hearing::{Hearing, HearingError},
    policy::{Passing, Policy},
};
