//! Tells a registry that can't be reached from one that refuses an image.

/// What the engine says when a registry does not answer, or answers that it can't serve now. The engine passes
/// on the words of Go's network and HTTP libraries, and there is no other sign.
const UNREACHABLE: [&str; 12] = [
    "connection refused",
    "connection reset",
    "context deadline exceeded",
    "client.timeout exceeded",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "tls handshake timeout",
    "unexpected eof",
];

/// The answers of a registry that can't serve now: too many requests, and failures of its own.
const OVERLOADED: [&str; 6] = [
    "toomanyrequests",
    "429 too many requests",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout",
];

/// Returns whether the engine's message says that a registry can't be reached, so that the same request may
/// succeed later.
pub(super) fn is_unreachable(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let mut signs = UNREACHABLE.iter().chain(&OVERLOADED);
    signs.any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_is_away_is_told_from_one_that_refuses() {
        for away in [
            r#"Get "https://registry.example/v2/": dial tcp: lookup registry.example on 127.0.0.1:53: no such host"#,
            r#"Get "https://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused"#,
            r#"Get "https://registry.example/v2/": net/http: request canceled (Client.Timeout exceeded while awaiting headers)"#,
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: You have reached your pull rate limit.",
        ] {
            assert!(is_unreachable(away), "{away}");
        }
        for refused in [
            "manifest for debian:nope not found: manifest unknown",
            "pull access denied for mine, repository does not exist or may require 'docker login'",
            "unauthorized: authentication required",
        ] {
            assert!(!is_unreachable(refused), "{refused}");
        }
    }
}
