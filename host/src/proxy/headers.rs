//! Which headers pass, each way. Both lists name what passes; the rest is dropped.

use hyper::{
    HeaderMap, Method,
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

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Adds the headers that the program sees. The body's length is the transport's business.
pub(super) fn toward_program(headers: &mut HeaderMap, asked: &HeaderMap, client: Option<Client>) {
    pass(asked, &TOWARD_PROGRAM, headers);
    if let Some(client) = client {
        if let Ok(value) = HeaderValue::try_from(client.address.ip().to_string()) {
            headers.insert(FORWARDED_FOR, value);
        }
        let scheme = HeaderValue::from_static(client.scheme.as_str());
        headers.insert(FORWARDED_PROTO, scheme);
    }
    if let Some(host) = asked.get(header::HOST) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

/// The headers that the client sees, in answer to a request by `method`.
pub(super) fn toward_client(answered: &HeaderMap, method: &Method) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(answered.len() + 2);
    pass(answered, &TOWARD_CLIENT, &mut headers);
    if method == Method::HEAD
        && let Some(length) = length(answered)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
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

/// The length that an answer without a body tells, if it tells one.
fn length(answered: &HeaderMap) -> Option<u64> {
    let mut lengths = answered.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next()?.to_str().ok()?.parse().ok()?;
    lengths.next().is_none().then_some(length)
}

fn pass(from: &HeaderMap, names: &[HeaderName], to: &mut HeaderMap) {
    for (name, value) in from {
        if names.contains(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
