//! Reads how a program is reached: its port, its readiness probe, and the limits of the proxy.

use hersh_program::{ProxyRules, Readiness, WATCHER_STATUS_PATH};
use hersh_wire as wire;

use crate::bounds::{GIB, KIB, ManifestError, size, span};

/// The most headers that a manifest may add for requests, and the same for responses.
const EXTRA_HEADERS_MAX: usize = 32;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;

/// Reads the probe that tells when a program is ready, and its port. A program without a network is reached
/// by its socket, whatever the port is.
pub(crate) fn readiness(asked: &wire::Manifest) -> Result<Readiness, ManifestError> {
    let probe = asked.readiness.clone().unwrap_or_default();
    let port = port(asked.port, probe.port)?;
    let path = probe.path.unwrap_or_else(|| WATCHER_STATUS_PATH.into());
    check_path("readiness.path", &path)?;
    Ok(match probe.kind {
        wire::ProbeKind::None => Readiness::None { port },
        wire::ProbeKind::Http => Readiness::Http { port, path },
        wire::ProbeKind::Tcp => Readiness::Tcp { port },
    })
}

/// Checks the path that a probe asks for.
pub(crate) fn check_path(key: &str, path: &str) -> Result<(), ManifestError> {
    let is_plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    if path.starts_with('/') && path.len() <= 1_024 && path.bytes().all(is_plain) {
        return Ok(());
    }
    Err(ManifestError {
        key: key.into(),
        value: format!("{path:?}"),
        rule: "use an absolute path of at most 1,024 visible ASCII characters".into(),
    })
}

/// Returns the port of the program, which a manifest can set under two names.
fn port(own: Option<u16>, probed: Option<u16>) -> Result<u16, ManifestError> {
    let refuse = |key: &str, port: u16, rule: String| {
        let (key, value) = (key.into(), port.to_string());
        Err(ManifestError { key, value, rule })
    };
    for (key, port) in [("port", own), ("readiness.port", probed)] {
        if port == Some(0) {
            return refuse(key, 0, "use 1 to 65535".into());
        }
    }
    match (own, probed) {
        (Some(own), Some(probed)) if own != probed => refuse(
            "readiness.port",
            probed,
            format!("requests go to port = {own}; probes go there too, so leave this one out"),
        ),
        (own, probed) => Ok(own
            .or(probed)
            .unwrap_or_else(|| Readiness::default().port())),
    }
}

/// Reads the limits of the proxy.
pub(crate) fn proxy_rules(asked: &wire::Proxy) -> Result<ProxyRules, ManifestError> {
    let usual = ProxyRules::default();
    let (head, least, most) = (u64::from(usual.head_bytes), KIB, 256 * KIB);
    let head_bytes = size("proxy.head", asked.head, head, least, most)?;
    Ok(ProxyRules {
        body_bytes: size("proxy.body", asked.body, usual.body_bytes, KIB, GIB)?,
        // `size` has checked the bounds above.
        head_bytes: u32::try_from(head_bytes).unwrap_or(u32::MAX),
        upload_ms: span(
            "proxy.upload",
            asked.upload,
            usual.upload_ms,
            SECOND_MS,
            HOUR_MS,
        )?,
        answer_ms: span(
            "proxy.answer",
            asked.answer,
            usual.answer_ms,
            SECOND_MS,
            HOUR_MS,
        )?,
        silence_ms: span(
            "proxy.silence",
            asked.silence,
            usual.silence_ms,
            SECOND_MS,
            HOUR_MS,
        )?,
        request_headers: headers("proxy.request_headers", asked.request_headers.as_deref())?,
        response_headers: headers("proxy.response_headers", asked.response_headers.as_deref())?,
    })
}

/// Reads a list of header names with commas between them.
fn headers(key: &str, asked: Option<&str>) -> Result<Vec<String>, ManifestError> {
    let names = asked.unwrap_or_default().split(',').map(str::trim);
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let refuse = |value: String, rule: String| {
        let key = key.into();
        Err(ManifestError { key, value, rule })
    };
    if names.len() > EXTRA_HEADERS_MAX {
        let rule = format!("name at most {EXTRA_HEADERS_MAX} headers");
        return refuse(format!("{} headers", names.len()), rule);
    }
    let mut parsed = Vec::new();
    for name in names {
        match hersh_proxy::addable(name) {
            Ok(name) => parsed.push(name.to_string()),
            Err(rule) => return refuse(format!("{name:?}"), rule.into()),
        }
    }
    Ok(parsed)
}

/// Returns the rules in force in the form that people write, with every key set.
pub(crate) fn proxy_view(rules: &ProxyRules) -> wire::Proxy {
    let names = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
    wire::Proxy {
        body: Some(wire::ByteSize(rules.body_bytes)),
        head: Some(wire::ByteSize(rules.head_bytes.into())),
        upload: Some(wire::Span(rules.upload_ms)),
        answer: Some(wire::Span(rules.answer_ms)),
        silence: Some(wire::Span(rules.silence_ms)),
        request_headers: names(&rules.request_headers),
        response_headers: names(&rules.response_headers),
    }
}

/// Returns the probe in the form that people write.
pub(crate) fn readiness_view(readiness: &Readiness) -> wire::Readiness {
    let (kind, path) = match readiness {
        Readiness::Http { path, .. } => (wire::ProbeKind::Http, Some(path.clone())),
        Readiness::Tcp { .. } => (wire::ProbeKind::Tcp, None),
        Readiness::None { .. } => (wire::ProbeKind::None, None),
    };
    let port = Some(readiness.port());
    wire::Readiness { kind, port, path }
}

#[cfg(test)]
mod tests {
    use hersh_program::Manifest;

    use super::*;

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        crate::read(&toml::from_str(text).unwrap())
    }

    #[test]
    fn one_port_has_two_names() {
        for (text, port) in [
            ("", 8080),
            ("port = 3000", 3000),
            ("[readiness]\nport = 3000", 3000),
            ("[readiness]\nkind = \"none\"\nport = 3000", 3000),
            ("port = 3000\n[readiness]\nkind = \"none\"", 3000),
            (
                "port = 3000\n[readiness]\nkind = \"tcp\"\nport = 3000",
                3000,
            ),
        ] {
            assert_eq!(read(text).unwrap().readiness.port(), port, "{text}");
        }
        let two = read("port = 3000\n[readiness]\nport = 9000").unwrap_err();
        let said = "readiness.port = 9000 can't be used: requests go to port = 3000; probes go there too, so leave this one out";
        assert_eq!(two.to_string(), said);
        assert!(read("port = 0").is_err());
    }

    #[test]
    fn a_probe_is_by_http_unless_it_says_otherwise() {
        let probe = read("[readiness]\npath = \"/health\"").unwrap().readiness;
        let (port, path) = (8080, "/health".into());
        assert_eq!(probe, Readiness::Http { port, path });
        assert_eq!(read("[readiness]").unwrap().readiness, Readiness::default());
    }

    #[test]
    fn limits_of_the_proxy_have_bounds() {
        let text = "[proxy]\nbody = \"50MiB\"\nhead = \"128KiB\"\nupload = \"5m\"\nanswer = \"2m\"\n\
                    silence = \"10m\"\nrequest_headers = \"X-Tenant, x-plan\"\nresponse_headers = \"X-Left\"";
        let rules = read(text).unwrap().proxy;
        let expected = ProxyRules {
            body_bytes: 50 << 20,
            head_bytes: 128 << 10,
            upload_ms: 300_000,
            answer_ms: 120_000,
            silence_ms: 600_000,
            request_headers: vec!["x-tenant".into(), "x-plan".into()],
            response_headers: vec!["x-left".into()],
        };
        assert_eq!(rules, expected);
        assert_eq!(proxy_rules(&proxy_view(&rules)), Ok(rules));
        let many = format!("[proxy]\nrequest_headers = \"{}\"", "x-a,".repeat(33));
        for (text, named) in [
            ("[proxy]\nbody = \"2GiB\"", "proxy.body"),
            ("[proxy]\nhead = \"1MiB\"", "proxy.head"),
            (
                "[proxy]\nanswer = \"0s\"",
                "proxy.answer = 0ms can't be used: use 1s to 1h",
            ),
            ("[proxy]\nsilence = \"2h\"", "proxy.silence"),
            ("[proxy]\nupload = \"0s\"", "proxy.upload"),
            (
                "[proxy]\nrequest_headers = \"x-a, Authorization\"",
                "\"Authorization\"",
            ),
            (
                "[proxy]\nresponse_headers = \"set-cookie\"",
                "\"set-cookie\"",
            ),
            (&many, "33 headers"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
