//! Finds where the body of a program's answer ends (RFC 9112, section 6.3), reading the bytes as they
//! come.

mod chunk;

use bytes::{Bytes, BytesMut};

pub use self::chunk::Chunk;
use self::chunk::{TRAILERS_BYTES_MAX, TRAILERS_MAX};

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks are still to come, with what comes next of them.
    Chunked(Chunk),
    /// Everything until the connection closes is still to come.
    UntilClose,
}

/// The part of a body that the bytes that came hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body, one at least.
    Data(Bytes),
    /// Nothing yet: more bytes have to come.
    More,
    /// Nothing any more: the body is through.
    End,
}

/// Why the bytes that came are not framed as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The line before a chunk has no proper size.
    #[error("a chunk of its body has no proper size")]
    ChunkSize,
    /// A chunk does not end where its size says.
    #[error("a chunk of its body does not end where its size says")]
    ChunkEnd,
    /// The lines after the last chunk are no headers, too many or too long.
    #[error(
        "the trailers of its body are no headers, more than {TRAILERS_MAX}, or more than {TRAILERS_BYTES_MAX} bytes"
    )]
    Trailers,
}

impl Framing {
    /// The framing of a chunked body of which nothing was read yet.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size);

    /// Returns whether the body is through.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::End))
    }

    /// Takes the next piece of the body out of what came.
    ///
    /// # Errors
    /// [`FramingError`]; nothing more of the connection can be understood after it.
    pub fn take(&mut self, came: &mut BytesMut) -> Result<Piece, FramingError> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(data(left, came)),
            Self::UntilClose if came.is_empty() => Ok(Piece::More),
            Self::UntilClose => Ok(Piece::Data(came.split().freeze())),
            Self::Chunked(chunk) => chunk.take(came),
        }
    }
}

/// Takes as many of the `left` bytes as came.
fn data(left: &mut u64, came: &mut BytesMut) -> Piece {
    if came.is_empty() {
        return Piece::More;
    }
    let length = usize::try_from(*left).map_or(came.len(), |left| left.min(came.len()));
    *left -= length as u64;
    Piece::Data(came.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{chunk::LINE_BYTES_MAX, *};

    /// Reads a body that comes in pieces. Returns the body, and the bytes left behind its end.
    fn read(mut framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), FramingError> {
        let (mut came, mut body) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            came.extend_from_slice(piece);
            while let Piece::Data(data) = framing.take(&mut came)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
        }
        Ok((body, came.to_vec()))
    }

    fn chunked(text: &str) -> Result<(Vec<u8>, Vec<u8>), FramingError> {
        read(Framing::CHUNKED, &[text.as_bytes()])
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (framing, over, rest) in [
            (Framing::Length(2), true, "x"),
            (Framing::Length(9), false, ""),
            (Framing::UntilClose, false, ""),
        ] {
            let mut left = framing;
            let mut came = BytesMut::from("okx");
            let piece = left.take(&mut came).unwrap();
            let body = if rest.is_empty() { "okx" } else { "ok" };
            assert_eq!(piece, Piece::Data(body.into()));
            assert_eq!((left.is_over(), &came[..]), (over, rest.as_bytes()));
        }
    }

    #[test]
    fn chunks_are_put_together_and_what_is_beside_them_is_dropped() {
        for text in [
            "5\r\nhello\r\n0\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "005 \t\r\nhello\r\n000\r\n\r\n",
            "5;a=\"b\"\r\nhello\r\n0;c\r\nSet-Cookie: a=b\r\nX:\r\n\r\n",
        ] {
            let whole = (b"hello".to_vec(), b"next".to_vec());
            assert_eq!(chunked(&format!("{text}next")), Ok(whole), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for (text, error) in [
            ("\r\n", FramingError::ChunkSize),
            (";\r\n", FramingError::ChunkSize),
            (" 5\r\nhello", FramingError::ChunkSize),
            ("-5\r\n", FramingError::ChunkSize),
            ("0x5\r\n", FramingError::ChunkSize),
            ("5 5\r\n", FramingError::ChunkSize),
            ("5\nhello", FramingError::ChunkSize),
            ("10000000000000005\r\n", FramingError::ChunkSize),
            ("5;a\nb\r\nhello", FramingError::ChunkSize),
            ("5;a\n", FramingError::ChunkSize),
            ("2\r\nokx", FramingError::ChunkEnd),
            ("2\r\nok\n", FramingError::ChunkEnd),
            ("2\r\nok\rx", FramingError::ChunkEnd),
            ("0\r\n\n", FramingError::Trailers),
            ("0\r\na: b\n\r\n", FramingError::Trailers),
            ("0\r\na\r\n\r\n", FramingError::Trailers),
            ("0\r\na b: c\r\n\r\n", FramingError::Trailers),
            ("0\r\na: b\r\n c\r\n\r\n", FramingError::Trailers),
            ("0\r\na: \0\r\n\r\n", FramingError::Trailers),
        ] {
            assert_eq!(chunked(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let line = format!("5;{}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(chunked(&line), Err(FramingError::ChunkSize));
        let ended = format!("{line}\r\nhello");
        assert_eq!(chunked(&ended), Err(FramingError::ChunkSize));
        let long = format!("0\r\n{}", "x".repeat(TRAILERS_BYTES_MAX + 1));
        assert_eq!(chunked(&long), Err(FramingError::Trailers));
        let few = format!("0\r\n{}\r\n", "a: b\r\n".repeat(TRAILERS_MAX));
        assert_eq!(chunked(&few), Ok(Default::default()));
        let many = format!("0\r\n{}", "a: b\r\n".repeat(TRAILERS_MAX + 1));
        assert_eq!(chunked(&many), Err(FramingError::Trailers));
        let wide = format!("a: {}\r\n", "x".repeat(TRAILERS_BYTES_MAX / 2));
        let both = format!("0\r\n{wide}{wide}\r\n");
        assert_eq!(chunked(&both), Err(FramingError::Trailers));
    }

    proptest! {
        /// How bytes fall into pieces makes no difference.
        #[test]
        fn pieces_give_what_the_whole_gives(
            chunks in prop::collection::vec("[a-z\r\n]{1,20}", 0..8),
            trailers in prop::collection::vec("[a-z]{1,9}: [a-z]{0,9}", 0..3),
            cut in 1..40_usize,
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut text = String::new();
            for chunk in &chunks {
                text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
            }
            let trailers: String = trailers.iter().map(|line| format!("{line}\r\n")).collect();
            let mut text = format!("{text}0\r\n{trailers}\r\nnext").into_bytes();
            if let Some((at, byte)) = broken {
                let at = at.index(text.len());
                text[at] = byte;
            }
            let whole = read(Framing::CHUNKED, &[&text]);
            let pieces: Vec<&[u8]> = text.chunks(cut).collect();
            prop_assert_eq!(read(Framing::CHUNKED, &pieces), whole.clone());
            if broken.is_none() {
                prop_assert_eq!(whole, Ok((chunks.concat().into_bytes(), b"next".to_vec())));
            }
        }
    }
}
