//! Server-Sent Events on their way to a client. Finds where the host may put in a comment, so that no
//! server between the host and the client takes a stream in which nothing happens for a dead one.

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};

/// The comment that the host sends. Every reader of events drops comments.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The number of last bytes that are enough to recognise the end of an event.
const TAIL_BYTES: usize = 3;

/// The position in a stream of events.
#[derive(Debug)]
pub(super) struct EventPosition {
    /// The last bytes that passed.
    tail: [u8; TAIL_BYTES],
}

impl Default for EventPosition {
    /// Returns the position before anything passed, which counts as between two events.
    fn default() -> Self {
        Self { tail: *b"\n\n\n" }
    }
}

impl EventPosition {
    /// Takes note of bytes that pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.tail.rotate_left(last.len());
        self.tail[TAIL_BYTES - last.len()..].copy_from_slice(last);
    }

    /// Returns whether the last bytes were an empty line, which ends an event.
    pub(super) fn is_between(&self) -> bool {
        [&b"\n\n"[..], b"\n\r\n", b"\r\r"]
            .iter()
            .any(|end| self.tail.ends_with(end))
    }
}

/// Returns whether a body with these headers is a stream of events without a content encoding, so that the
/// host can read the events.
pub(super) fn is_event_stream(headers: &[(HeaderName, HeaderValue)]) -> bool {
    let value = |wanted: &HeaderName| {
        let mut values = headers.iter().filter(|(name, _)| name == wanted);
        values.next().map(|(_, value)| value.as_bytes())
    };
    let kind = value(&header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
        && value(&header::CONTENT_ENCODING).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_an_empty_line_wherever_it_is_cut() {
        for (text, is_between) in [
            ("", true),
            ("data: 1\n\n", true),
            ("data: 1\r\n\r\n", true),
            ("data: 1\r\r", true),
            ("data: 1\n\r\n", true),
            (":\n\n\n", true),
            ("\n", true),
            ("data: 1", false),
            ("data: 1\n", false),
            ("data: 1\r\n", false),
            ("data: 1\r\n\r", false),
            ("data: 1\n\ndata", false),
        ] {
            for cut in 0..=text.len() {
                let mut events = EventPosition::default();
                let (before, after) = text.as_bytes().split_at(cut);
                events.pass(before);
                events.pass(after);
                assert_eq!(events.is_between(), is_between, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn only_what_says_so_and_is_not_packed_is_a_stream_of_events() {
        let header = |name: HeaderName, value| (name, HeaderValue::from_static(value));
        let kind = |value| header(header::CONTENT_TYPE, value);
        assert!(is_event_stream(&[kind("text/event-stream")]));
        assert!(is_event_stream(&[kind("Text/Event-Stream; charset=utf-8")]));
        assert!(!is_event_stream(&[kind("text/plain")]));
        assert!(!is_event_stream(&[]));
        let packed = header(header::CONTENT_ENCODING, "gzip");
        assert!(!is_event_stream(&[kind("text/event-stream"), packed]));
    }
}
