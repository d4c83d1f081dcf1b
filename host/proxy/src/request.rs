//! A request as the program gets it: checked, with the path that the program may see, and new framing.

use bytes::BytesMut;
use hyper::{
    Method, Request, Version,
    header::{self, HeaderMap},
};

use super::{ForwardError, headers, rules::Rules, upload::Upload};
use crate::Client;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Refuses requests that the HTTP library lets through and a program might read differently, and bodies
/// that are declared longer than `body_bytes_max`.
///
/// # Errors
/// [`ForwardError`] says what is wrong with the request.
pub(super) fn check<B>(request: &Request<B>, body_bytes_max: u64) -> Result<(), ForwardError> {
    if !METHODS.contains(request.method()) {
        return Err(ForwardError::Method);
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(ForwardError::Malformed("send exactly one Host header"));
    }
    let mut encodings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let only = encodings.next();
    if encodings.next().is_some()
        || only.is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        let message = "Transfer-Encoding may be 'chunked' and nothing else";
        return Err(ForwardError::Malformed(message));
    }
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > body_bytes_max) {
        return Err(ForwardError::BodyTooLarge(body_bytes_max));
    }
    Ok(())
}

/// The question to the program. It can be sent as often as necessary.
pub(super) struct UpstreamRequest<'a> {
    pub(super) method: &'a Method,
    /// The path, which comes from [`super::watcher_path`].
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    /// The name under which the program is asked, its `Host`.
    pub(super) authority: &'a str,
    /// The client of the request; `None` only without a server.
    pub(super) client: Option<&'a Client>,
    /// Headers that only a WebSocket's handshake carries.
    pub(super) handshake: Option<&'a HeaderMap>,
    /// The rules of the program's manifest for requests to it.
    pub(super) rules: &'a Rules,
}

impl UpstreamRequest<'_> {
    /// Returns whether asking twice is the same as asking once.
    pub(super) fn is_safe(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS].contains(self.method)
    }

    pub(super) fn is_head(&self) -> bool {
        *self.method == Method::HEAD
    }

    /// Writes the head of the request that goes to the program with `upload`. None of its parts can hold a
    /// line's end, which would let a client write further headers: the HTTP library has read the parts out of
    /// a target and headers.
    pub(super) fn write(&self, upload: Option<&Upload>, out: &mut BytesMut) {
        for part in [
            self.method.as_str(),
            " ",
            self.path,
            self.query.map_or("", |_| "?"),
            self.query.unwrap_or_default(),
            " HTTP/1.1\r\nhost: ",
            self.authority,
            "\r\n",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        headers::write_toward_program(self.headers, &self.rules.extra, self.client, out);
        for (name, value) in self.handshake.into_iter().flatten() {
            headers::write(name.as_str(), value, out);
        }
        match upload {
            Some(upload) => upload.write_framing(out),
            None if self.is_safe() => {}
            None => out.extend_from_slice(b"content-length: 0\r\n"),
        }
        out.extend_from_slice(b"\r\n");
    }
}
