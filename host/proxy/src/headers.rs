//! Decides which headers pass in each direction, and how they change on the way.

use std::fmt::Write;

use bytes::BytesMut;
use hersh_answer::{Policy, VisibleHeader};
use hersh_base::token_text;
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    names::{OF_ANSWERS, OF_REQUESTS},
    rules::ExtraHeaders,
};
use crate::Client;

/// The name under which a program's `WWW-Authenticate` passes. Under its real name, a browser would answer
/// it with the user's password, and clients would take it for the host's.
const WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("hersh-www-authenticate");

/// Writes the headers that the program sees, without the one that frames the body: `UpstreamRequest::write` adds
/// it.
pub(super) fn write_toward_program(
    asked: &HeaderMap,
    extra: &ExtraHeaders,
    client: Option<&Client>,
    out: &mut BytesMut,
) {
    let usual = &*OF_REQUESTS;
    for (name, value) in asked {
        let passes = usual.find(name.as_str()).is_some()
            || usual.has_prefix_of(name.as_str())
            || extra.of_requests.contains(name);
        if passes && !holds_token(value) {
            write(name.as_str(), value, out);
        }
    }
    if let Some(client) = client {
        let (address, scheme) = (client.address, client.scheme);
        // Writing to memory can't fail.
        let _ = write!(
            out,
            "x-forwarded-for: {address}\r\nx-forwarded-proto: {scheme}\r\n"
        );
    }
    if let Some(host) = asked.get(header::HOST)
        && !holds_token(host)
    {
        write("x-forwarded-host", host, out);
    }
}

/// Returns whether a token of this host stands in a header's value. A program that sees a token could use
/// it.
fn holds_token(value: &HeaderValue) -> bool {
    token_text::is_spelled_in(value.as_bytes())
}

/// Writes one header.
pub(super) fn write(name: &str, value: &HeaderValue, out: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

impl Policy for ExtraHeaders {
    fn passing(&self, name: &str) -> Option<VisibleHeader> {
        let Some(found) = OF_ANSWERS.find(name) else {
            let passes = OF_ANSWERS.has_prefix_of(name)
                || (self.of_answers.iter()).any(|it| it.as_str().eq_ignore_ascii_case(name));
            let parsed = passes.then(|| HeaderName::from_bytes(name.as_bytes()).ok());
            return parsed.flatten().map(VisibleHeader::AsItIs);
        };
        let refers = [header::LOCATION, header::CONTENT_LOCATION, header::LINK];
        Some(if refers.contains(found) {
            VisibleHeader::Url(found.clone())
        } else if *found == header::WWW_AUTHENTICATE {
            VisibleHeader::AsItIs(WWW_AUTHENTICATE)
        } else {
            VisibleHeader::AsItIs(found.clone())
        })
    }
}

/// Adds headers that keep a program's page away from the host. With them, the page gets an origin of its
/// own and can't reach the API with the viewer's session.
pub(super) fn confine(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

#[cfg(test)]
mod tests {
    use hersh_answer::{FinalHead, Head, HeadReader, ReceivedHead};

    use super::*;

    fn read_head(head: &str, extra: &ExtraHeaders) -> Head {
        let read = HeadReader::new(false, head.len(), extra).read(head.as_bytes());
        match read.unwrap().unwrap().1 {
            ReceivedHead::Final(FinalHead::Answer(head)) => head,
            other @ (ReceivedHead::Final(FinalHead::Switch(_)) | ReceivedHead::Interim) => {
                panic!("{other:?}")
            }
        }
    }

    fn names(headers: &[(HeaderName, HeaderValue)]) -> Vec<&str> {
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn an_answer_keeps_the_clients_headers() {
        let headers = "upgrade: websocket\r\nset-cookie: a=b\r\ncontent-type: text/html\r\nvary: a\r\nvary: b\r\n";
        let head = read_head(
            &format!("HTTP/1.1 200 OK\r\n{headers}\r\n"),
            &ExtraHeaders::default(),
        );
        assert_eq!(names(&head.headers), ["content-type", "vary", "vary"]);
    }

    #[test]
    fn what_a_manifest_adds_passes_and_a_challenge_has_another_name() {
        let extra = ExtraHeaders {
            of_answers: vec![HeaderName::from_static("x-plan")],
            ..ExtraHeaders::default()
        };
        let head = "HTTP/1.1 401 No\r\nX-Plan: a\r\nX-Other: b\r\nX-RateLimit-Left: 1\r\n\
                    WWW-Authenticate: Basic realm=\"x\"\r\nLocation: /watcher/a\r\n\r\n";
        let head = read_head(head, &extra);
        let passed = ["x-plan", "x-ratelimit-left", "hersh-www-authenticate"];
        assert_eq!(names(&head.headers), passed);
        assert_eq!(names(&head.url_headers), ["location"]);
    }
}
