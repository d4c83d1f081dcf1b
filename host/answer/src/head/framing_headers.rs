//! Reads what the headers of an answer tell of its body and of the connection.

use httparse::Header;

use super::HeadError;

/// The largest length of a body: other readers have a use of their own for larger numbers.
const LENGTH_MAX: u64 = u64::MAX - 2;

/// The length, the encoding and the end of the connection that headers tell.
#[derive(Default)]
pub(super) struct FramingHeaders {
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) closes: bool,
}

impl FramingHeaders {
    pub(super) fn read(headers: &[Header<'_>]) -> Result<Self, HeadError> {
        let mut found = Self::default();
        for Header { name, value } in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let length = number(value).ok_or(HeadError::Length)?;
                if found.length.is_some_and(|other| other != length) {
                    return Err(HeadError::Length);
                }
                found.length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                // The request asked for no other encoding.
                if found.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::Encoding);
                }
                found.is_chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                let mut listed = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
                found.closes |= listed.any(|token| token.eq_ignore_ascii_case(b"close"));
            }
        }
        Ok(found)
    }
}

fn number(value: &[u8]) -> Option<u64> {
    // A length has no sign. Rust's parser would accept one.
    let is_plain = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_plain)?;
    text.parse().ok().filter(|&length| length <= LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{head::read, policy::NoHeaders};

    #[test]
    fn a_framing_that_can_be_read_in_two_ways_is_refused() {
        for (headers, error) in [
            (
                "content-length: 2\r\ncontent-length: 3\r\n",
                HeadError::Length,
            ),
            ("content-length: 2, 2\r\n", HeadError::Length),
            ("content-length: +2\r\n", HeadError::Length),
            ("content-length: 0x2\r\n", HeadError::Length),
            ("content-length:\r\n", HeadError::Length),
            (
                "content-length: 18446744073709551614\r\n",
                HeadError::Length,
            ),
            (
                "content-length: 18446744073709551616\r\n",
                HeadError::Length,
            ),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                HeadError::Encoding,
            ),
            ("transfer-encoding: gzip, chunked\r\n", HeadError::Encoding),
            ("transfer-encoding: identity\r\n", HeadError::Encoding),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            assert_eq!(
                read(head.as_bytes(), false, &NoHeaders).unwrap_err(),
                error,
                "{headers:?}"
            );
        }
    }
}
