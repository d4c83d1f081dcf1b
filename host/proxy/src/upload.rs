//! The body of a request on its way to the program: bounded, framed anew, without trailers.

use std::{
    fmt::Write,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Body;

/// A body of which some or all is still to be sent.
#[derive(Debug)]
pub(super) struct Upload {
    body: UnsyncBoxBody<Bytes, UploadError>,
    framing: UploadFraming,
    /// How many more bytes the body may have; `bytes_max` is the limit that it began with.
    left: u64,
    bytes_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadFraming {
    Length(u64),
    Chunked,
}

/// Tells whether there is more to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendProgress {
    More,
    Done,
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the request's body is too large")]
    TooLarge(u64),
    #[error("the request's body ended early")]
    Broken,
}

impl Upload {
    /// Returns the client's body, if it has one. No more than `bytes_max` bytes of it are sent.
    pub(super) fn new(
        body: impl Body<Data = Bytes> + Send + 'static,
        bytes_max: u64,
    ) -> Option<Self> {
        if body.is_end_stream() {
            return None;
        }
        let length = body.size_hint().exact();
        Some(Self {
            body: body.map_err(|_| UploadError::Broken).boxed_unsync(),
            framing: length.map_or(UploadFraming::Chunked, UploadFraming::Length),
            left: bytes_max,
            bytes_max,
        })
    }

    /// Writes the header that says where the body ends.
    pub(super) fn write_framing(&self, out: &mut BytesMut) {
        // Writing to memory can't fail.
        let _ = match self.framing {
            UploadFraming::Length(bytes) => write!(out, "content-length: {bytes}\r\n"),
            UploadFraming::Chunked => out.write_str("transfer-encoding: chunked\r\n"),
        };
    }

    /// Writes the next piece of the body, once it has come.
    ///
    /// # Errors
    /// [`UploadError`]: the request can't become whole.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<SendProgress, UploadError>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(self.end(out));
        };
        // Drops trailers: there is no list of trailers that are safe to pass on.
        if let Ok(data) = frame?.into_data() {
            self.write(&data, out)?;
        }
        Poll::Ready(if self.body.is_end_stream() {
            self.end(out)
        } else {
            Ok(SendProgress::More)
        })
    }

    fn write(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), UploadError> {
        let left = self.left.checked_sub(data.len() as u64);
        self.left = left.ok_or(UploadError::TooLarge(self.bytes_max))?;
        match &mut self.framing {
            UploadFraming::Length(length) => {
                let left = length.checked_sub(data.len() as u64);
                *length = left.ok_or(UploadError::Broken)?;
                out.extend_from_slice(data);
            }
            // An empty chunk would end the body.
            UploadFraming::Chunked if data.is_empty() => {}
            UploadFraming::Chunked => {
                let _ = write!(out, "{:x}\r\n", data.len());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn end(&self, out: &mut BytesMut) -> Result<SendProgress, UploadError> {
        match self.framing {
            UploadFraming::Length(0) => {}
            UploadFraming::Length(_) => return Err(UploadError::Broken),
            UploadFraming::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        }
        Ok(SendProgress::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, task::Waker};

    use http_body_util::{Empty, Full};
    use hyper::body::{Frame, SizeHint};

    use super::*;

    /// A body of these frames that claims this length.
    struct Frames(VecDeque<Frame<Bytes>>, Option<u64>);

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::new, SizeHint::with_exact)
        }
    }

    fn frames(data: &[&'static str], length: Option<u64>) -> Frames {
        let frame = |data: &&'static str| Frame::data(Bytes::from(*data));
        Frames(data.iter().map(frame).collect(), length)
    }

    fn sent(body: impl Body<Data = Bytes> + Send + 'static) -> Result<String, UploadError> {
        let mut out = BytesMut::new();
        let mut upload = Upload::new(body, 100).unwrap();
        upload.write_framing(&mut out);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let Poll::Ready(sending) = upload.poll_write(&mut cx, &mut out) else {
                panic!("these bodies are all there");
            };
            if sending? == SendProgress::Done {
                return Ok(String::from_utf8(out.to_vec()).unwrap());
            }
        }
    }

    #[test]
    fn a_body_is_framed_by_what_is_known_of_it() {
        let full = sent(Full::from("hello"));
        assert_eq!(full.unwrap(), "content-length: 5\r\nhello");
        let known = sent(frames(&["he", "", "llo"], Some(5)));
        assert_eq!(known.unwrap(), "content-length: 5\r\nhello");
        let unknown = sent(frames(&["he", "", "llo"], None));
        let chunks = "transfer-encoding: chunked\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        assert_eq!(unknown.unwrap(), chunks);
        assert!(Upload::new(Empty::new(), 100).is_none());
    }

    #[test]
    fn trailers_stay_here() {
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x", hyper::header::HeaderValue::from_static("y"));
        let frames = VecDeque::from([Frame::data("ok".into()), Frame::trailers(trailers)]);
        let text = sent(Frames(frames, None)).unwrap();
        assert!(text.ends_with("\r\n2\r\nok\r\n0\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_body_that_is_not_what_it_says_breaks_off() {
        let short = sent(frames(&["hell"], Some(5)));
        assert_eq!(short, Err(UploadError::Broken));
        let long = sent(frames(&["hello", "!"], Some(5)));
        assert_eq!(long, Err(UploadError::Broken));
        assert!(sent(Full::from(vec![b'x'; 100])).is_ok());
        let large = Full::from(vec![b'x'; 101]);
        assert_eq!(sent(large), Err(UploadError::TooLarge(100)));
    }
}
