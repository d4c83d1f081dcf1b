//! Which headers pass, each way, and what becomes of them.

use std::fmt::Write;

use bytes::BytesMut;
use hersh_base::token_text;
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    names::{OF_ANSWERS, OF_REQUESTS},
    rules::Extra,
};
use crate::Client;

/// What a program's `WWW-Authenticate` is called here: a browser would answer the real one with
/// its user's password, and clients would take it for the host's.
const WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("hersh-www-authenticate");

/// A header of an answer that the client may see.
#[derive(Debug, PartialEq)]
pub(super) enum Passing {
    AsItIs(HeaderName),
    /// Its value says where something is, as the program sees it.
    Reference(HeaderName),
}

/// Writes the headers that the program sees. The body's length is the transport's business.
pub(super) fn write_toward_program(
    asked: &HeaderMap,
    extra: &Extra,
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
        // Memory takes all that is written to it.
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

/// Whether a token of this host stands in a header's value, where it would be the program's to use.
fn holds_token(value: &HeaderValue) -> bool {
    token_text::is_spelled_in(value.as_bytes())
}

/// Writes one header.
pub(super) fn write(name: &str, value: &HeaderValue, out: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// What a header of an answer is to the client, if the client may see it.
pub(super) fn toward_client(name: &str, extra: &Extra) -> Option<Passing> {
    let Some(found) = OF_ANSWERS.find(name) else {
        let passes = OF_ANSWERS.has_prefix_of(name)
            || (extra.of_answers.iter()).any(|it| it.as_str().eq_ignore_ascii_case(name));
        let parsed = passes.then(|| HeaderName::from_bytes(name.as_bytes()).ok());
        return parsed.flatten().map(Passing::AsItIs);
    };
    let refers = [header::LOCATION, header::CONTENT_LOCATION, header::LINK];
    Some(if refers.contains(found) {
        Passing::Reference(found.clone())
    } else if *found == header::WWW_AUTHENTICATE {
        Passing::AsItIs(WWW_AUTHENTICATE)
    } else {
        Passing::AsItIs(found.clone())
    })
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
