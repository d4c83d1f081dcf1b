//! Reads an answer with this reader, under a policy by which all headers but the length pass.

use bytes::BytesMut;
use http::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use crate::{FinalHead, Framing, Head, HeadReader, Piece, Policy, ReceivedHead, VisibleHeader};

/// The most bytes of a head. Hyper allows more.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// What a reader makes of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The answer's head; `None` if it was refused or never ended.
    pub head: Option<ReadHead>,
    /// The answer's body, as far as it was read.
    pub body: Vec<u8>,
    /// How the answer ended.
    pub end: End,
}

/// What a reader makes of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadHead {
    /// The status.
    pub status: u16,
    /// The names and escaped values of the headers in alphabetical order, without the body's length.
    pub headers: Vec<(String, String)>,
}

/// How an answer ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The answer ends where its head or its chunks say, or where another protocol begins.
    Framed {
        /// The bytes that came behind the answer.
        rest: Vec<u8>,
        /// Whether another request may follow.
        is_free: bool,
    },
    /// The answer ends with the connection.
    Close,
    /// The answer broke off before its end.
    #[default]
    Broken,
}

/// A policy by which all headers pass but the length, which is read on the way.
struct AllHeaders;

impl Policy for AllHeaders {
    fn passing(&self, name: &str) -> Option<VisibleHeader> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        (name != header::CONTENT_LENGTH).then_some(VisibleHeader::AsItIs(name))
    }
}

impl ReadHead {
    pub(super) fn new<'a>(
        status: StatusCode,
        headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    ) -> Self {
        let headers = headers.into_iter();
        let mut headers: Vec<_> = headers
            .filter(|(name, _)| *name != header::CONTENT_LENGTH)
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.as_bytes().escape_ascii().to_string(),
                )
            })
            .collect();
        headers.sort();
        Self {
            status: status.as_u16(),
            headers,
        }
    }
}

/// Returns what this reader makes of `answer`, which comes in pieces of `step` bytes and then ends.
pub(super) fn read_by_us(answer: &[u8], step: usize, is_head: bool) -> Reading {
    let mut reading = Reading::default();
    let mut head_reader = HeadReader::new(is_head, HEAD_BYTES_MAX, &AllHeaders);
    let (mut came, mut head): (_, Option<Head>) = (BytesMut::new(), None);
    let mut pieces = answer.chunks(step.max(1));
    while let Some(piece) = pieces.next() {
        came.extend_from_slice(piece);
        if head.is_none() {
            match read_head(&mut head_reader, &mut came, piece.len()) {
                None => return reading,
                Some(None) => continue,
                Some(Some(FinalHead::Switch(headers))) => {
                    reading.head = Some(switched(&headers));
                    came.extend(pieces.flatten());
                    let (rest, is_free) = (came.to_vec(), false);
                    reading.end = End::Framed { rest, is_free };
                    return reading;
                }
                Some(Some(FinalHead::Answer(answer_head))) => {
                    let headers = answer_head
                        .headers
                        .iter()
                        .map(|(name, value)| (name, value));
                    reading.head = Some(ReadHead::new(answer_head.status, headers));
                    head = Some(answer_head);
                }
            }
        }
        while let Some(head) = &mut head {
            match head.framing.take(&mut came) {
                Ok(Piece::Data(data)) => reading.body.extend_from_slice(&data),
                Ok(Piece::More | Piece::End) => break,
                Err(_) => return reading,
            }
        }
    }
    if let Some(head) = head {
        reading.end = end(&head, came.to_vec());
    }
    reading
}

/// Reads the final head out of `came`, of which the last `bytes` came just now. Returns `None` if
/// the bytes are wrong, and `Some(None)` if not enough came.
#[expect(clippy::option_option, reason = "nothing, nothing yet, and something")]
fn read_head(
    head_reader: &mut HeadReader<'_, AllHeaders>,
    came: &mut BytesMut,
    bytes: usize,
) -> Option<Option<FinalHead>> {
    head_reader.take_in(bytes).ok()?;
    while let Some((length, received)) = head_reader.read(came).ok()? {
        let _ = came.split_to(length);
        match received {
            ReceivedHead::Interim => {}
            ReceivedHead::Final(head) => return Some(Some(head)),
        }
    }
    Some(None)
}

fn switched(headers: &HeaderMap) -> ReadHead {
    ReadHead::new(StatusCode::SWITCHING_PROTOCOLS, headers)
}

fn end(head: &Head, rest: Vec<u8>) -> End {
    if head.framing.is_over() {
        let is_free = head.keeps_alive && rest.is_empty();
        End::Framed { rest, is_free }
    } else if head.framing == Framing::UntilClose {
        End::Close
    } else {
        End::Broken
    }
}
