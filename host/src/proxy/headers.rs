//! Which headers pass, each way. Both lists name what passes; the rest is dropped.

use std::fmt::Write;

use bytes::BytesMut;
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};

use crate::server::Client;

const TOWARD_PROGRAM: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::RANGE,
    header::USER_AGENT,
    HeaderName::from_static("last-event-id"),
];

/// No `Set-Cookie` and no `Location`: a program must not speak for the host's origin. No length
/// either: it follows from the body.
const TOWARD_CLIENT: [HeaderName; 12] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
];

/// Writes the headers that the program sees. The body's length is the transport's business.
pub(super) fn write_toward_program(asked: &HeaderMap, client: Option<Client>, out: &mut BytesMut) {
    for (name, value) in asked {
        if TOWARD_PROGRAM.contains(name) {
            write(name.as_str(), value, out);
        }
    }
    if let Some(client) = client {
        let (address, scheme) = (client.address.ip(), client.scheme.as_str());
        // Memory takes all that is written to it.
        let _ = write!(
            out,
            "x-forwarded-for: {address}\r\nx-forwarded-proto: {scheme}\r\n"
        );
    }
    if let Some(host) = asked.get(header::HOST) {
        write("x-forwarded-host", host, out);
    }
}

/// Writes one header.
pub(super) fn write(name: &str, value: &HeaderValue, out: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The name of a header of an answer, if the client may see that header.
pub(super) fn toward_client(name: &str) -> Option<HeaderName> {
    let mut passing = TOWARD_CLIENT.iter();
    let passing = passing.find(|it| it.as_str().eq_ignore_ascii_case(name));
    passing.cloned()
}

/// Adds what keeps a program's page away from the host: it gets an origin of its own and can't
/// reach the API with the viewer's session.
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
