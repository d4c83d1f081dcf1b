//! The readers of what strangers send, each by itself, for tests that send them any bytes.

use bytes::BytesMut;
use hersh_answer::{FinalHead, Framing, Head, HeadReader, Piece, ReceivedHead};
use hersh_program::Manifest;
use hyper::header::{HeaderName, HeaderValue};

use crate::{Rules, references::Base, watcher_path};

/// Returns the path that `program` is asked for by a request for `target`; `None` if that is not
/// forwarded.
#[must_use]
pub fn forwarded_path(target: &str, program: &str) -> Option<String> {
    watcher_path(&target.parse().ok()?, program).ok()
}

/// What a client gets of a program's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedAnswer {
    /// The status.
    pub status: u16,
    /// Names and values of headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Returns what a client gets of an answer whose bytes come in these pieces and then the end of the
/// connection; `None` if the answer is not whole. `is_head` tells that the answer is to a HEAD.
#[must_use]
pub fn received_answer(pieces: &[&[u8]], is_head: bool) -> Option<ReceivedAnswer> {
    let (head, body) = receive_all(pieces, is_head)?;
    let header =
        |(name, value): &(HeaderName, HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    Some(ReceivedAnswer {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(header).collect(),
        body,
    })
}

/// Returns the head and the body that a client would get of an answer whose bytes come in these pieces and
/// then the end of the connection; `None` if the answer is not whole.
fn receive_all(pieces: &[&[u8]], is_head: bool) -> Option<(Head, Vec<u8>)> {
    let rules = Rules::new(&Manifest::default());
    let base = Base {
        prefix: "/programs/p",
        path: "/watcher/a/b",
        program: "p",
        host: Some("host.example:7700"),
    };
    let mut head_reader = HeadReader::new(is_head, rules.head_bytes_max, &rules.extra);
    let (mut came, mut body) = (BytesMut::new(), Vec::new());
    let mut head = None;
    for piece in pieces {
        came.extend_from_slice(piece);
        if head.is_none() {
            head_reader.take_in(piece.len()).ok()?;
        }
        while head.is_none()
            && let Some((length, received)) = head_reader.read(&came).ok()?
        {
            let _ = came.split_to(length);
            match received {
                ReceivedHead::Interim => {}
                ReceivedHead::Final(FinalHead::Answer(answer)) => head = Some(answer),
                ReceivedHead::Final(FinalHead::Switch(_)) => return None,
            }
        }
        let Some(head) = &mut head else {
            continue;
        };
        while let Piece::Data(data) = head.framing.take(&mut came).ok()? {
            body.extend_from_slice(&data);
        }
    }
    let mut head = head.filter(|it| it.framing.is_over() || it.framing == Framing::UntilClose)?;
    let references = std::mem::take(&mut head.url_headers);
    head.headers.extend(base.lead_all(references));
    Some((head, body))
}
