//! Which headers pass, each way. Both lists name what passes; the rest is dropped.

use std::net::SocketAddr;

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};

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

/// No `Set-Cookie` and no `Location`: a program must not speak for the host's origin.
const TOWARD_CLIENT: [HeaderName; 13] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers that the program sees. The body's length is the transport's business.
pub(super) fn toward_program(asked: &HeaderMap, peer: Option<SocketAddr>) -> HeaderMap {
    let mut headers = pass(asked, &TOWARD_PROGRAM);
    if let Some(value) = peer.and_then(|peer| HeaderValue::from_str(&peer.ip().to_string()).ok()) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Some(host) = asked.get(header::HOST) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers
}

/// The headers that the client sees.
pub(super) fn toward_client(answered: &HeaderMap) -> HeaderMap {
    let mut headers = pass(answered, &TOWARD_CLIENT);
    // A page that a program serves gets an origin of its own and can't reach the host's API with
    // the viewer's session.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
}

fn pass(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        for value in from.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}
