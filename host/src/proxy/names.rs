//! The headers that pass: what is end to end in HTTP's registry and harmless, and what senders of
//! webhooks, traces and uploads have made common. The rest is dropped. `docs/proxy.md` shows the
//! lists to those who write programs; a test holds both together.

use std::sync::LazyLock;

use hyper::header::HeaderName;

/// Headers of requests that a program sees.
const TOWARD_PROGRAM: &[&str] = &[
    // What is asked for, and in which form.
    "accept",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "accept-language",
    "accept-signature",
    "cache-control",
    "last-event-id",
    "pragma",
    "prefer",
    "priority",
    "save-data",
    "user-agent",
    "want-content-digest",
    "want-digest",
    "want-repr-digest",
    "x-requested-with",
    // Of what, under which condition: all of them, since one without another changes the meaning.
    "content-range",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    // What the body is.
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "digest",
    "repr-digest",
    // Which request it is.
    "b3",
    "baggage",
    "idempotency-key",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-request-id",
    // Who vouches for it toward the program; the host itself takes none of these.
    "x-api-key",
    "x-csrf-token",
    "x-xsrf-token",
    "signature",
    "signature-input",
    "linear-delivery",
    "linear-event",
    "linear-signature",
    "sentry-hook-resource",
    "sentry-hook-signature",
    "sentry-hook-timestamp",
    "stripe-signature",
    "typeform-signature",
    "x-attempt-number",
    "x-event-key",
    "x-goog-message-number",
    "x-hook-secret",
    "x-hook-signature",
    "x-hook-uuid",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-line-signature",
    "x-pagerduty-signature",
    "x-signature",
    "x-signature-ed25519",
    "x-signature-timestamp",
    "x-square-hmacsha256-signature",
    "x-telegram-bot-api-secret-token",
    "x-twilio-signature",
    "x-webhook-id",
    "x-webhook-signature",
    "x-webhook-timestamp",
    "x-zm-request-timestamp",
    "x-zm-signature",
    // Protocols over HTTP.
    "connect-protocol-version",
    "connect-timeout-ms",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "tus-resumable",
    "x-grpc-web",
];

/// What the names of more such headers begin with.
const TOWARD_PROGRAM_PREFIXES: &[&str] = &[
    "ce-",
    "paypal-",
    "svix-",
    "upload-",
    "webhook-",
    "x-amz-sns-",
    "x-b3-",
    "x-datadog-",
    "x-gitea-",
    "x-github-",
    "x-gitlab-",
    "x-goog-channel-",
    "x-goog-resource-",
    "x-shopify-",
    "x-slack-",
    "x-wc-webhook-",
];

/// Headers of answers that a client sees. No length: it follows from the body.
const TOWARD_CLIENT: &[&str] = &[
    // What the body is.
    "accept-ranges",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
    "signature",
    "signature-input",
    // How long it holds, and for whom.
    "age",
    "cache-control",
    "deprecation",
    "expires",
    "pragma",
    "sunset",
    "vary",
    "warning",
    "x-accel-buffering",
    "x-robots-tag",
    // What else may be asked, and when.
    "accept-patch",
    "accept-post",
    "allow",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-next-page",
    "x-page",
    "x-pagination",
    "x-per-page",
    "x-prev-page",
    "x-total",
    "x-total-count",
    "x-total-pages",
    // What was measured or traced.
    "api-version",
    "idempotency-key",
    "idempotency-replayed",
    "server-timing",
    "timing-allow-origin",
    "traceparent",
    "traceresponse",
    "tracestate",
    "x-api-version",
    "x-correlation-id",
    "x-response-time",
    "x-runtime",
    // Which pages may read it. Without access-control-allow-credentials none of them reads it with
    // what a browser knows of its user here.
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "cross-origin-resource-policy",
    // Protocols over HTTP.
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "location",
    "content-location",
    "link",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "www-authenticate",
];

/// What the names of more such headers begin with.
const TOWARD_CLIENT_PREFIXES: &[&str] = &["ratelimit-", "upload-", "x-rate-limit-", "x-ratelimit-"];

/// Names that no manifest can add: of one connection, of the host's own, a way around what the host
/// promises, such as a token's scope or the origin of its pages, or what a server in front that
/// authenticates says of who asks: some are tokens that another service would take from a program.
const NEVER: &[&str] = &[
    "access-control-allow-credentials",
    "alt-svc",
    "alt-used",
    "authentication-info",
    "authorization",
    "clear-site-data",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-length",
    "content-location",
    "content-security-policy",
    "content-security-policy-report-only",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "expect-ct",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "link",
    "location",
    "nel",
    "origin-agent-cluster",
    "public-key-pins",
    "public-key-pins-report-only",
    "refresh",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-amz-security-token",
    "x-apigateway-api-userinfo",
    "x-arr-clientcert",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-user",
    "x-auth-username",
    "x-content-type-options",
    "x-endpoint-api-userinfo",
    "x-http-method",
    "x-http-method-override",
    "x-lighttpd-send-file",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-remote-group",
    "x-remote-user",
    "x-request-id",
    "x-rewrite-url",
    "x-sendfile",
    "x-serverless-authorization",
];

/// What the names of more such headers begin with.
const NEVER_PREFIXES: &[&str] = &[
    "cf-access-",
    "hersh-",
    "proxy-",
    "sec-",
    "ssl-client-",
    "tailscale-",
    "x-accel-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-appengine-user-",
    "x-auth-request-",
    "x-authentik-",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iam-",
    "x-goog-iap-",
    "x-hersh-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-remote-extra-",
    "x-ssl-client-",
    "x-vercel-oidc-",
    "x-webauth-",
];

/// Names, to be found by length: a lookup compares with the few that are as long.
pub(super) struct Names {
    by_length: Vec<Vec<HeaderName>>,
    prefixes: &'static [&'static str],
}

/// What passes of a request.
pub(super) static OF_REQUESTS: LazyLock<Names> =
    LazyLock::new(|| Names::new(TOWARD_PROGRAM, TOWARD_PROGRAM_PREFIXES));

/// What passes of an answer.
pub(super) static OF_ANSWERS: LazyLock<Names> =
    LazyLock::new(|| Names::new(TOWARD_CLIENT, TOWARD_CLIENT_PREFIXES));

impl Names {
    fn new(names: &[&'static str], prefixes: &'static [&'static str]) -> Self {
        let longest = names.iter().map(|name| name.len()).max();
        let mut by_length = vec![Vec::new(); longest.map_or(0, |longest| longest + 1)];
        for name in names {
            by_length[name.len()].push(HeaderName::from_static(name));
        }
        Self {
            by_length,
            prefixes,
        }
    }

    /// The name, if it is listed, in whatever case.
    pub(super) fn find(&self, name: &str) -> Option<&HeaderName> {
        let as_long = self.by_length.get(name.len())?;
        as_long
            .iter()
            .find(|it| it.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the name begins with one that stands for many.
    pub(super) fn has_prefix_of(&self, name: &str) -> bool {
        begins_with_any(name, self.prefixes)
    }
}

/// The name of a header that a manifest adds to those that pass.
///
/// # Errors
/// Why it can't pass.
pub(crate) fn addable(name: &str) -> Result<HeaderName, &'static str> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err("a header's name has letters, digits and '-'");
    };
    let name = parsed.as_str();
    if NEVER.contains(&name) || begins_with_any(name, NEVER_PREFIXES) {
        return Err(
            "this header is the host's own, a credential, or about one connection; \
             a name of your own, such as X-Shop-Token, can pass",
        );
    }
    Ok(parsed)
}

fn begins_with_any(name: &str, prefixes: &[&str]) -> bool {
    let name = name.as_bytes();
    prefixes.iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/proxy.md");

    /// The names in backquotes between two headings of the document.
    fn documented(heading: &str) -> Vec<&'static str> {
        let (_, part) = DOCUMENT.split_once(heading).expect(heading);
        let part = part.split("\n## ").next().unwrap();
        part.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_document_lists_what_passes() {
        for (heading, names, prefixes) in [
            (
                "## Headers that reach the program",
                TOWARD_PROGRAM,
                TOWARD_PROGRAM_PREFIXES,
            ),
            (
                "## Headers that reach the client",
                TOWARD_CLIENT,
                TOWARD_CLIENT_PREFIXES,
            ),
        ] {
            let listed = documented(heading);
            for name in names {
                assert!(listed.contains(name), "{heading}: {name}");
            }
            for prefix in prefixes {
                let pattern = format!("{prefix}*");
                assert!(listed.contains(&pattern.as_str()), "{heading}: {pattern}");
            }
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        for name in ["content-type", "Content-Type", "CONTENT-TYPE"] {
            assert_eq!(OF_ANSWERS.find(name).unwrap(), "content-type");
        }
        for name in ["", "content-typ", "content-type2", &"x".repeat(500)] {
            assert!(OF_ANSWERS.find(name).is_none(), "{name}");
        }
        assert!(OF_REQUESTS.has_prefix_of("X-GitHub-Event"));
        assert!(!OF_REQUESTS.has_prefix_of("x-git"));
    }

    #[test]
    fn nothing_that_is_never_to_pass_is_on_a_list() {
        // Those that pass in another form, or that the host says itself.
        let known = [
            "content-location",
            "date",
            "link",
            "location",
            "www-authenticate",
        ];
        let known = |name: &str| {
            known.contains(&name) || ["x-request-id", "x-accel-buffering"].contains(&name)
        };
        for name in TOWARD_PROGRAM.iter().chain(TOWARD_CLIENT) {
            assert!(known(name) || addable(name).is_ok(), "{name}");
        }
        for prefix in TOWARD_PROGRAM_PREFIXES.iter().chain(TOWARD_CLIENT_PREFIXES) {
            let covers = |never: &&str| never.starts_with(prefix) || prefix.starts_with(never);
            assert!(!NEVER.iter().chain(NEVER_PREFIXES).any(covers), "{prefix}");
        }
    }

    #[test]
    fn what_a_server_in_front_says_of_the_user_never_passes() {
        for name in [
            "X-Goog-IAP-JWT-Assertion",
            "X-Goog-Authenticated-User-Email",
            "X-Goog-Authenticated-User-Id",
            "X-Serverless-Authorization",
            "X-MS-Client-Principal",
            "X-MS-Client-Principal-Name",
            "X-MS-Token-AAD-Access-Token",
            "X-Amzn-Oidc-Data",
            "X-Amzn-Oidc-Accesstoken",
            "X-Amzn-Mtls-Clientcert",
            "Cf-Access-Jwt-Assertion",
            "Cf-Access-Client-Secret",
            "X-Forwarded-Access-Token",
            "X-Forwarded-User",
            "X-Auth-Request-Email",
            "X-Vercel-Oidc-Token",
            "X-Pomerium-Jwt-Assertion",
            "X-Authentik-Username",
            "Tailscale-User-Login",
            "Remote-User",
            "Client-Cert",
        ] {
            let passes = OF_REQUESTS.find(name).is_some() || OF_REQUESTS.has_prefix_of(name);
            assert!(!passes, "{name} passes");
            assert!(addable(name).is_err(), "a manifest can add {name}");
        }
        for name in ["X-Goog-Channel-Id", "X-Goog-Resource-State"] {
            assert!(OF_REQUESTS.has_prefix_of(name), "{name}");
        }
        assert!(OF_REQUESTS.find("X-Goog-Message-Number").is_some());
    }

    #[test]
    fn a_manifest_adds_names_of_its_own_and_nothing_else() {
        assert_eq!(addable("X-Shop-Token").unwrap(), "x-shop-token");
        for name in [
            "Authorization",
            "COOKIE",
            "Set-Cookie",
            "Location",
            "Proxy-Anything",
            "Sec-WebSocket-Key",
            "X-Forwarded-For",
            "X-HTTP-Method-Override",
            "Transfer-Encoding",
            "X-Accel-Redirect",
            "Hersh-Api-Version",
            "",
            "a b",
            "a\r\nb",
            "gr\u{fc}n",
        ] {
            assert!(addable(name).is_err(), "{name:?}");
        }
    }
}
