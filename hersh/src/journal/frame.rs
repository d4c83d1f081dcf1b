//! Entries as bytes: a frame each, in the encoding of postcard.
//!
//! ```text
//! magic │ frame │ frame …
//! ```

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::record::Entry;
use crate::base::frame::{self, Frame};

/// The bytes that every part begins with.
pub(super) const MAGIC: &[u8] = b"hersh journal 1\n";

/// What stands at a position in a part.
#[derive(Debug)]
pub(super) enum FrameRead {
    /// An entry, and where the next one begins.
    Entry { entry: Entry, next: usize },
    /// Nothing more.
    End,
    /// The beginning of an entry whose rest was never written.
    Torn,
    /// Something that was never written like this.
    Damaged { what: String },
}

/// Adds an entry to a buffer.
///
/// # Errors
/// When the entry cannot be encoded or is too long; the buffer is unchanged then.
pub(super) fn append(buffer: &mut Vec<u8>, entry: &Entry) -> Result<(), String> {
    frame::append(buffer, |buffer| {
        postcard::serialize_with_flavor(entry, VecOutput(buffer)).map_err(|error| error.to_string())
    })
}

/// Reads what stands at position `at`.
pub(super) fn read(bytes: &[u8], at: usize) -> FrameRead {
    match frame::read(bytes, at) {
        Frame::End => FrameRead::End,
        Frame::Torn => FrameRead::Torn,
        Frame::Damaged { what } => FrameRead::Damaged { what: what.into() },
        Frame::Whole { payload, next } => match postcard::from_bytes(payload) {
            Ok(entry) => FrameRead::Entry { entry, next },
            Err(error) => FrameRead::Damaged {
                what: format!("an entry cannot be understood: {error}"),
            },
        },
    }
}

/// An output of the serialiser at the end of a vector, without a buffer in between.
struct VecOutput<'a>(&'a mut Vec<u8>);

impl Flavor for VecOutput<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Checks at compile time that what is appended can be read: the same types on both sides.
const _: fn() = || {
    fn both<T: Serialize + for<'de> serde::Deserialize<'de>>() {}
    both::<Entry>();
};
