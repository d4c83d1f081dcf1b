//! The chunks of a body, and the trailers behind them.

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Status};

use super::{FramingError, Piece, data};

/// The most bytes of the line before a chunk. It holds the chunk's size, and extensions that nobody reads.
pub(super) const LINE_BYTES_MAX: usize = 4 * 1024;
/// The most lines of trailers, and the most bytes of all of them together. Trailers are dropped.
pub(super) const TRAILERS_MAX: usize = 100;
pub(super) const TRAILERS_BYTES_MAX: usize = 16 * 1024 - 1;

/// The part of a chunked body that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line before a chunk, which says its size.
    Size,
    /// The chunk itself, of which so many bytes are still to come.
    Data(u64),
    /// The end of the chunk's last line.
    DataEnd,
    /// Trailers, of which so many lines and so many bytes may still come.
    Trailers {
        /// The number of lines that are not empty.
        lines: usize,
        /// The number of bytes, with the ends of lines.
        bytes: usize,
    },
    /// Nothing: the body is through.
    End,
}

impl Chunk {
    pub(super) fn take(&mut self, came: &mut BytesMut) -> Result<Piece, FramingError> {
        loop {
            *self = match self {
                Self::Size => match size(came)? {
                    Some(0) => Self::Trailers {
                        lines: TRAILERS_MAX,
                        bytes: TRAILERS_BYTES_MAX,
                    },
                    Some(bytes) => Self::Data(bytes),
                    None => return Ok(Piece::More),
                },
                Self::Data(0) => Self::DataEnd,
                Self::Data(left) => return Ok(data(left, came)),
                Self::DataEnd => match came.first_chunk() {
                    Some(b"\r\n") => {
                        came.advance(2);
                        Self::Size
                    }
                    None if came.is_empty() || **came == *b"\r" => return Ok(Piece::More),
                    Some(_) | None => return Err(FramingError::ChunkEnd),
                },
                Self::Trailers { lines, bytes } => match trailer(came, *bytes)? {
                    Some(0) => Self::End,
                    Some(length) => Self::Trailers {
                        lines: lines.checked_sub(1).ok_or(FramingError::Trailers)?,
                        bytes: bytes.saturating_sub(length),
                    },
                    None => return Ok(Piece::More),
                },
                Self::End => return Ok(Piece::End),
            };
        }
    }
}

/// Takes the line before a chunk, and returns the chunk's size; `None` if not all of the line came.
fn size(came: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    // The parser takes a line without any digit for a size of zero, which would end the body.
    if came.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(FramingError::ChunkSize);
    }
    let (length, size) = match httparse::parse_chunk_size(came) {
        Ok(Status::Complete((length, size))) => (length, Some(size)),
        Ok(Status::Partial) => (came.len(), None),
        Err(_) => return Err(FramingError::ChunkSize),
    };
    // The parser accepts a line's end within extensions, but other readers may end the line there.
    let inner = if size.is_some() { length - 1 } else { length };
    if length > LINE_BYTES_MAX || came[..inner].contains(&b'\n') {
        return Err(FramingError::ChunkSize);
    }
    if size.is_some() {
        came.advance(length);
    }
    Ok(size)
}

/// Takes a line of trailers of at most `bytes_max`. Returns the length of the line, zero for the empty
/// line behind the last trailer; `None` if not all of the line came.
fn trailer(came: &mut BytesMut, bytes_max: usize) -> Result<Option<usize>, FramingError> {
    let Some(at) = came.iter().position(|&byte| byte == b'\n') else {
        let is_short = came.len() <= bytes_max;
        return is_short.then_some(None).ok_or(FramingError::Trailers);
    };
    if at == 0 || came[at - 1] != b'\r' || at >= bytes_max {
        return Err(FramingError::Trailers);
    }
    let is_last = at == 1;
    if !(is_last || is_header(&came[..=at])) {
        return Err(FramingError::Trailers);
    }
    came.advance(at + 1);
    Ok(Some(if is_last { 0 } else { at + 1 }))
}

/// Returns whether a line is a header. Other readers may keep trailers, and refuse lines that are no
/// headers.
fn is_header(line: &[u8]) -> bool {
    let mut slots = [EMPTY_HEADER];
    // After a proper header the parser waits for the next line.
    httparse::parse_headers(line, &mut slots) == Ok(Status::Partial)
}
