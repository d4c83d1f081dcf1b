//! The handshake of a WebSocket (RFC 6455), both sides of it: what a client may ask, and what a
//! program must answer before a tunnel is made.

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    Method, Request, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use sha1::{Digest, Sha1};

use super::ForwardError;

/// The text that RFC 6455 adds to a key before the key is hashed.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// The headers of what a client offers beside key and version, and of what a program chooses from it.
const OFFERS: [HeaderName; 2] = [
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// A handshake that a client began properly.
#[derive(Debug)]
pub(super) struct Handshake {
    headers: HeaderMap,
    accept: String,
}

/// Returns whether a request offers to go on as a WebSocket. Any other offer, such as HTTP/2 without TLS,
/// is left alone, as RFC 9110 allows: the request is a plain one then.
pub fn is_offered(headers: &HeaderMap) -> bool {
    lists(headers, &header::UPGRADE, "websocket")
}

/// Returns the handshake that a request asks for; `None` for a plain request.
///
/// # Errors
/// [`ForwardError::Upgrade`] for a handshake that is not whole, [`ForwardError::Origin`] for one that a
/// web page of another origin began.
pub(super) fn asked<B>(
    request: &Request<B>,
    has_body: bool,
) -> Result<Option<Handshake>, ForwardError> {
    let headers = request.headers();
    if !is_offered(headers) {
        return Ok(None);
    }
    let refused = |what| Err(ForwardError::Upgrade(what));
    if !is_only(headers, &header::UPGRADE, b"websocket") {
        return refused("the Upgrade header names another protocol beside");
    }
    if request.method() != Method::GET || request.version() != Version::HTTP_11 || has_body {
        return refused("a WebSocket begins with GET by HTTP/1.1 and without a body");
    }
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return refused("the Connection header does not list 'upgrade'");
    }
    if !is_only(headers, &header::SEC_WEBSOCKET_VERSION, b"13") {
        return refused("Sec-WebSocket-Version is not 13");
    }
    let Some(key) = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return refused("Sec-WebSocket-Key is not 16 bytes in base64");
    };
    if !is_of_this_origin(headers) {
        return Err(ForwardError::Origin);
    }
    let accept = accept(key.as_bytes());
    let mut toward_program = HeaderMap::new();
    toward_program.insert(header::CONNECTION, UPGRADE);
    toward_program.insert(header::UPGRADE, WEBSOCKET);
    toward_program.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    toward_program.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    for name in OFFERS {
        for value in headers.get_all(&name) {
            toward_program.append(name.clone(), value.clone());
        }
    }
    Ok(Some(Handshake {
        headers: toward_program,
        accept,
    }))
}

impl Handshake {
    /// Returns the headers with which the program is asked.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the headers with which the client is answered, if the program's 101 is the answer to this
    /// handshake.
    ///
    /// # Errors
    /// The text says what is wrong with the program's answer.
    pub(super) fn confirm(&self, answer: &HeaderMap) -> Result<HeaderMap, &'static str> {
        if !is_only(answer, &header::UPGRADE, b"websocket")
            || !lists(answer, &header::CONNECTION, "upgrade")
        {
            return Err("its 101 does not upgrade to a WebSocket");
        }
        let accept = only(answer, &header::SEC_WEBSOCKET_ACCEPT)
            .filter(|accept| accept.as_bytes() == self.accept.as_bytes())
            .ok_or("its 101 does not carry the Sec-WebSocket-Accept for the client's key")?;
        let mut toward_client = HeaderMap::new();
        toward_client.insert(header::CONNECTION, UPGRADE);
        toward_client.insert(header::UPGRADE, WEBSOCKET);
        toward_client.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
        for name in OFFERS {
            let mut chosen = answer.get_all(&name).iter().peekable();
            if chosen.peek().is_some() && !self.headers.contains_key(&name) {
                return Err("its 101 chooses what the client did not offer");
            }
            for value in chosen {
                toward_client.append(name.clone(), value.clone());
            }
        }
        Ok(toward_client)
    }
}

/// Returns whether a page of this host opens the WebSocket, or no page at all. Browsers let any page open
/// a WebSocket anywhere, and name the page's origin. All other clients name none. Without this check, any
/// web page could open a WebSocket to a program.
fn is_of_this_origin(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let text = |name| only(headers, &name).and_then(|value| value.to_str().ok());
    let authority = text(header::ORIGIN).and_then(|origin| {
        origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"))
    });
    match (authority, text(header::HOST)) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        (None, _) | (_, None) => false,
    }
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

fn is_key(key: &HeaderValue) -> bool {
    STANDARD
        .decode(key.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 16)
}

/// Returns the value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_only(headers: &HeaderMap, name: &HeaderName, value: &[u8]) -> bool {
    only(headers, name).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(value))
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(change: impl FnOnce(&mut HeaderMap)) -> Request<()> {
        let request = Request::get("/x")
            .header("host", "host.example:7700")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", KEY)
            .body(());
        let mut request = request.unwrap();
        change(request.headers_mut());
        request
    }

    fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut HeaderMap) {
        move |headers| drop(headers.insert(name, HeaderValue::from_static(value)))
    }

    fn add(name: &'static str, value: &'static str) -> impl FnOnce(&mut HeaderMap) {
        move |headers| {
            headers.append(name, HeaderValue::from_static(value));
        }
    }

    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(accept(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_a_whole_handshake_is_one() {
        assert!(asked(&request(|_| ()), false).unwrap().is_some());
        let plain = request(|headers| drop(headers.remove("upgrade")));
        assert!(asked(&plain, false).unwrap().is_none());
        for other in ["h2c", "TLS/1.0", "websocket2", ""] {
            let other = request(set("upgrade", other));
            assert!(asked(&other, true).unwrap().is_none(), "{other:?}");
        }
        for bad in [
            request(set("upgrade", "websocket, h2c")),
            request(add("upgrade", "websocket")),
            request(set("connection", "keep-alive")),
            request(|headers| drop(headers.remove("connection"))),
            request(set("sec-websocket-version", "8")),
            request(set("sec-websocket-key", "c2hvcnQ=")),
            request(set("sec-websocket-key", "not base64 at all!!!!!!!")),
            request(add("sec-websocket-key", KEY)),
        ] {
            let refused = asked(&bad, false);
            assert!(
                matches!(refused, Err(ForwardError::Upgrade(_))),
                "{:?}: {refused:?}",
                bad.headers()
            );
        }
        let mut post = request(|_| ());
        *post.method_mut() = Method::POST;
        assert!(asked(&post, false).is_err());
        let mut old = request(|_| ());
        *old.version_mut() = Version::HTTP_10;
        assert!(asked(&old, false).is_err());
        assert!(asked(&request(|_| ()), true).is_err());
    }

    #[test]
    fn a_browser_may_only_come_from_a_page_of_this_host() {
        for origin in ["https://host.example:7700", "http://HOST.example:7700"] {
            assert!(asked(&request(set("origin", origin)), false).is_ok());
        }
        for origin in [
            "https://evil.example",
            "https://host.example",
            "https://host.example:7700.evil.example",
            "https://host.example:7700/",
            "ftp://host.example:7700",
            "null",
            "",
        ] {
            let refused = asked(&request(set("origin", origin)), false);
            assert!(matches!(refused, Err(ForwardError::Origin)), "{origin}");
        }
        let twice = request(|headers| {
            add("origin", "https://host.example:7700")(headers);
            add("origin", "https://evil.example")(headers);
        });
        assert!(matches!(asked(&twice, false), Err(ForwardError::Origin)));
    }

    #[test]
    fn only_the_answer_to_this_handshake_makes_a_tunnel() {
        let offer = request(set("sec-websocket-protocol", "chat, log"));
        let handshake = asked(&offer, false).unwrap().unwrap();
        let answer = |change: &dyn Fn(&mut HeaderMap)| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("set-cookie", "session=stolen"),
            ] {
                set(name, value)(&mut headers);
            }
            change(&mut headers);
            headers
        };
        let confirmed = handshake
            .confirm(&answer(&|headers| {
                set("sec-websocket-protocol", "chat")(headers)
            }))
            .unwrap();
        assert_eq!(confirmed["sec-websocket-protocol"], "chat");
        assert!(!confirmed.contains_key("set-cookie"));
        for change in [
            &(|headers: &mut HeaderMap| drop(headers.remove("upgrade"))) as &dyn Fn(&mut HeaderMap),
            &|headers| drop(headers.remove("connection")),
            &|headers| drop(headers.remove("sec-websocket-accept")),
            &|headers| set("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")(headers),
            &|headers| set("upgrade", "h2c")(headers),
            &|headers| set("sec-websocket-extensions", "permessage-deflate")(headers),
        ] {
            assert!(handshake.confirm(&answer(change)).is_err());
        }
    }
}
