//! The chunks of a body, and the trailers behind them.

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Status};

use super::{FramingError, Piece, data};

/// Bytes of the line before a chunk: its size, and extensions that nobody reads.
pub(super) const LINE_BYTES_MAX: usize = 4 * 1024;
/// Trailers, which are dropped: their lines, and bytes of all of them together.
pub(super) const TRAILERS_MAX: usize = 100;
pub(super) const TRAILERS_BYTES_MAX: usize = 16 * 1024 - 1;

/// What comes next of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line before a chunk, which says its size.
    Size,
    /// So many bytes of the chunk itself.
    Data(u64),
    /// The end of its last line.
    DataEnd,
    /// Lines, of which so many may still come, and so many bytes.
    Trailers {
        /// Lines that are not empty.
        lines: usize,
        /// Bytes with their ends.
        bytes: usize,
    },
    /// Nothing.
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

/// Takes the line before a chunk: the chunk's size, if all of the line came.
fn size(came: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    // The parser takes a line without any digit for a size of nought.
    if came.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(FramingError::ChunkSize);
    }
    let (length, size) = match httparse::parse_chunk_size(came) {
        Ok(Status::Complete((length, size))) => (length, Some(size)),
        Ok(Status::Partial) => (came.len(), None),
        Err(_) => return Err(FramingError::ChunkSize),
    };
    // The parser takes a line's end within extensions, where other readers may end the line.
    let inner = if size.is_some() { length - 1 } else { length };
    if length > LINE_BYTES_MAX || came[..inner].contains(&b'\n') {
        return Err(FramingError::ChunkSize);
    }
    if size.is_some() {
        came.advance(length);
    }
    Ok(size)
}

/// Takes a trailer of at most `bytes_max`: how long its line was, nought for the empty one behind
/// the last.
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

/// Whether a line is a header. Other readers may not drop trailers, and refuse what is none.
fn is_header(line: &[u8]) -> bool {
    let mut room = [EMPTY_HEADER];
    // The parser waits for the next line behind a header.
    httparse::parse_headers(line, &mut room) == Ok(Status::Partial)
}
