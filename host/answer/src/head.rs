//! Reads the head of a program's answer into the parts that a proxy needs.

mod framing_headers;

use std::mem::MaybeUninit;

use http::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use httparse::{Header, ParserConfig, Response, Status};

use self::framing_headers::FramingHeaders;
use super::{
    framing::Framing,
    policy::{Policy, VisibleHeader},
};

/// The most headers that one answer may have.
const HEADERS_MAX: usize = 100;

/// The most bytes of a header's name: [`HeaderName`] holds no more.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// A head that a program sent.
#[derive(Debug)]
pub enum ReceivedHead {
    /// An interim answer (1xx): another answer will follow. This one is passed to nobody.
    Interim,
    /// The final answer.
    Final(FinalHead),
}

/// The final answer of a program to a request.
#[derive(Debug)]
pub enum FinalHead {
    /// The program switches to another protocol (101). Holds all headers of that answer.
    Switch(HeaderMap),
    /// The head of an answer. The body follows.
    Answer(Head),
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status, 200 or higher.
    pub status: StatusCode,
    /// The headers that the client may see, as the program sent them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The headers whose value is a URL or a path, such as `Location`. They are as the program sent them.
    pub url_headers: Vec<(HeaderName, HeaderValue)>,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the connection may carry another request afterwards.
    pub keeps_alive: bool,
}

/// Why the bytes that came are not the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The bytes are not HTTP/1.
    #[error("what it says is not HTTP/1.1 ({0})")]
    Syntax(#[from] httparse::Error),
    /// The status is out of range.
    #[error("its status is not between 100 and 999")]
    Status,
    /// The name of a header is too long.
    #[error("a header of its answer has a name of more than {NAME_BYTES_MAX} bytes")]
    Name,
    /// The value of a header holds control characters.
    #[error("a header of its answer holds control characters")]
    Value,
    /// The `Content-Length` is not one number.
    #[error("the Content-Length of its answer is not one number")]
    Length,
    /// The `Transfer-Encoding` is not `chunked`, or is not allowed in HTTP/1.0.
    #[error("the Transfer-Encoding of its answer is not 'chunked' by HTTP/1.1")]
    Encoding,
}

/// Reads the head at the beginning of `bytes` and returns it with its length; `None` while a part of it
/// is missing. `is_head` tells whether the method of the request was HEAD, `policy` which headers the
/// client may see.
///
/// # Errors
/// [`HeadError`].
pub(super) fn read(
    bytes: &[u8],
    is_head: bool,
    policy: &impl Policy,
) -> Result<Option<(usize, ReceivedHead)>, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        bytes,
        &mut slots,
    )?;
    let Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default());
    let status = status.map_err(|_| HeadError::Status)?;
    if answer
        .headers
        .iter()
        .any(|it| it.name.len() > NAME_BYTES_MAX)
    {
        return Err(HeadError::Name);
    }
    let received = if status == StatusCode::SWITCHING_PROTOCOLS {
        ReceivedHead::Final(FinalHead::Switch(all(answer.headers)?))
    } else if status.is_informational() {
        ReceivedHead::Interim
    } else {
        ReceivedHead::Final(FinalHead::Answer(answer_head(
            &answer, status, is_head, policy,
        )?))
    };
    Ok(Some((length, received)))
}

fn answer_head(
    answer: &Response<'_, '_>,
    status: StatusCode,
    is_head: bool,
    policy: &impl Policy,
) -> Result<Head, HeadError> {
    let framing_headers = FramingHeaders::read(answer.headers)?;
    let is_old = answer.version == Some(0);
    if is_old && framing_headers.is_chunked {
        return Err(HeadError::Encoding);
    }
    let (mut headers, mut url_headers) = (Vec::new(), Vec::new());
    for Header { name, value } in answer.headers.iter() {
        match policy.passing(name) {
            Some(VisibleHeader::AsItIs(name)) => headers.push((name, parsed(value)?)),
            Some(VisibleHeader::Url(name)) => url_headers.push((name, parsed(value)?)),
            None => {}
        }
    }
    let has_no_body =
        is_head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if is_head && let Some(length) = framing_headers.length {
        headers.push((header::CONTENT_LENGTH, length.into()));
    }
    let framing = match framing_headers.length {
        _ if has_no_body => Framing::Length(0),
        _ if framing_headers.is_chunked => Framing::CHUNKED,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    // A program that names two framings may follow the other one. Its body would then end elsewhere, and
    // the rest would be taken for the next answer, so the connection is not used again.
    let has_one_framing = !(framing_headers.is_chunked && framing_headers.length.is_some());
    let keeps_alive =
        !is_old && !framing_headers.closes && has_one_framing && framing != Framing::UntilClose;
    Ok(Head {
        status,
        headers,
        url_headers,
        framing,
        keeps_alive,
    })
}

/// Returns all headers of an answer, without those whose name is not valid.
fn all(headers: &[Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut all = HeaderMap::new();
    for Header { name, value } in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            all.append(name, parsed(value)?);
        }
    }
    Ok(all)
}

fn parsed(value: &[u8]) -> Result<HeaderValue, HeadError> {
    HeaderValue::from_bytes(value).map_err(|_| HeadError::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NoHeaders;

    fn answer(head: &str, is_head: bool) -> Head {
        let (length, received) = read(head.as_bytes(), is_head, &NoHeaders).unwrap().unwrap();
        assert_eq!(length, head.len());
        match received {
            ReceivedHead::Final(FinalHead::Answer(head)) => head,
            ReceivedHead::Final(FinalHead::Switch(_)) | ReceivedHead::Interim => {
                panic!("{head:?}: {received:?}")
            }
        }
    }

    #[test]
    fn headers_say_where_a_body_ends_and_what_comes_after() {
        for (head, framing, keeps_alive) in [
            (
                "1.1 200 OK\r\ncontent-length: 2\r\n",
                Framing::Length(2),
                true,
            ),
            (
                "1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n",
                Framing::Length(2),
                true,
            ),
            (
                "1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n",
                Framing::CHUNKED,
                true,
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n",
                Framing::CHUNKED,
                false,
            ),
            ("1.1 200 OK\r\n", Framing::UntilClose, false),
            (
                "1.1 204 None\r\ncontent-length: 2\r\n",
                Framing::Length(0),
                true,
            ),
            (
                "1.1 304 Same\r\ntransfer-encoding: chunked\r\n",
                Framing::Length(0),
                true,
            ),
            (
                "1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n",
                Framing::Length(2),
                false,
            ),
            (
                "1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n",
                Framing::Length(2),
                false,
            ),
        ] {
            let head = answer(&format!("HTTP/{head}\r\n"), false);
            assert_eq!(
                (head.framing, head.keeps_alive),
                (framing, keeps_alive),
                "{head:?}"
            );
        }
        let head = answer("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", true);
        assert_eq!(head.framing, Framing::Length(0));
        let length = (header::CONTENT_LENGTH, HeaderValue::from(7));
        assert_eq!(head.headers, [length]);
    }

    #[test]
    fn a_switch_keeps_all_headers() {
        let switch = "HTTP/1.1 101 Switch\r\nupgrade: x\r\nvary: a\r\nvary: b\r\n\r\n";
        let read = read(switch.as_bytes(), false, &NoHeaders).unwrap();
        let Some((_, ReceivedHead::Final(FinalHead::Switch(headers)))) = read else {
            panic!("{read:?}");
        };
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_head_is_read_once_all_of_it_came() {
        let text = "HTTP/1.1 100 Continue\r\nx: y\r\n\r\n";
        for end in 0..text.len() {
            assert!(
                read(&text.as_bytes()[..end], false, &NoHeaders)
                    .unwrap()
                    .is_none(),
                "{end}"
            );
        }
        let received = read(text.as_bytes(), false, &NoHeaders).unwrap();
        assert!(
            matches!(received, Some((_, ReceivedHead::Interim))),
            "{received:?}"
        );
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(HEADERS_MAX + 1)
        );
        let refused = read(many.as_bytes(), false, &NoHeaders).unwrap_err();
        assert_eq!(refused, HeadError::Syntax(httparse::Error::TooManyHeaders));
    }
}
