//! The headers that pass. Some are end to end in HTTP's registry and harmless. Others have been made
//! common by senders of webhooks, traces and uploads. All other headers are dropped. `docs/proxy.md` shows
//! the lists to those who write programs; a test checks that the document lists the same names.

mod never;
mod passing;

use std::sync::LazyLock;

use hyper::header::HeaderName;

use never::{NEVER, NEVER_PREFIXES};
use passing::{TOWARD_CLIENT, TOWARD_CLIENT_PREFIXES, TOWARD_PROGRAM, TOWARD_PROGRAM_PREFIXES};

/// A list of names, sorted by length: a lookup compares only with the few names that are as long.
pub(super) struct HeaderNames {
    by_length: Vec<Vec<HeaderName>>,
    prefixes: &'static [&'static str],
}

/// The headers of a request that pass.
pub(super) static OF_REQUESTS: LazyLock<HeaderNames> =
    LazyLock::new(|| HeaderNames::new(TOWARD_PROGRAM, TOWARD_PROGRAM_PREFIXES));

/// The headers of an answer that pass.
pub(super) static OF_ANSWERS: LazyLock<HeaderNames> =
    LazyLock::new(|| HeaderNames::new(TOWARD_CLIENT, TOWARD_CLIENT_PREFIXES));

impl HeaderNames {
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

    /// Returns the listed name that is the same as `name` in any case; `None` if it is not listed.
    pub(super) fn find(&self, name: &str) -> Option<&HeaderName> {
        let as_long = self.by_length.get(name.len())?;
        as_long
            .iter()
            .find(|it| it.as_str().eq_ignore_ascii_case(name))
    }

    /// Returns whether the name begins with one of the listed prefixes.
    pub(super) fn has_prefix_of(&self, name: &str) -> bool {
        begins_with_any(name, self.prefixes)
    }
}

/// Returns the name of a header that a manifest adds to those that pass.
///
/// # Errors
/// The reason why the header can't pass.
pub fn addable(name: &str) -> Result<HeaderName, &'static str> {
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

    /// Returns the names in backquotes below one heading of the document.
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
        // Headers that pass in another form, or that the host sets itself.
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
