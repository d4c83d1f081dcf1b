//! Gives every request an id, so that its lines in the log can be found.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the id, in the request and in the answer.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters that an id from a client may have.
const LENGTH_MAX: usize = 64;

/// Makes ids. An id names the start of the host and the request within it. Ids are easy to guess, so
/// nothing may treat them as secrets.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// The first part of every id, which stands for this start of the host.
    start: Box<str>,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // Without random bytes, ids repeat after a restart; the times in the log tell them apart.
        Self::from(getrandom::u32().unwrap_or_default(), 1)
    }

    fn from(start: u32, next: u64) -> Self {
        Self {
            start: format!("{start:08x}-").into(),
            next: AtomicU64::new(next),
        }
    }

    /// Returns the id that the client gave, if it can stand in a log; else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let mut given = headers.get_all(&HEADER).iter();
        match (given.next(), given.next()) {
            (Some(value), None) if is_sane(value.as_bytes()) => value.clone(),
            (_, _) => self.make(),
        }
    }

    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        // Allocated in its exact length, which spares the `HeaderValue` a copy.
        let mut name = String::with_capacity(self.start.len() + number.len());
        name.push_str(&self.start);
        name.push_str(&number);
        HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("unnamed"))
    }
}

fn is_sane(name: &[u8]) -> bool {
    let plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
    (1..=LENGTH_MAX).contains(&name.len()) && name.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let ids = RequestIds::from(0xab, 7);
        ids.of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_name_is_kept_and_any_other_replaced() {
        for sane in ["a", "req_1.2-3", &"x".repeat(64)] {
            assert_eq!(named(&[sane]), sane);
        }
        let long = "x".repeat(65);
        for other in [
            &[][..],
            &[""],
            &["a b"],
            &["a\"b"],
            &["{\"a\":1}"],
            &["ü"],
            &[&long],
            &["a", "b"],
        ] {
            assert_eq!(named(other), "000000ab-7", "{other:?}");
        }
    }

    #[test]
    fn no_two_requests_share_a_made_name() {
        let ids = RequestIds::new();
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
