//! Rewrites references in an answer's head, so that the client can follow them.
//!
//! ```text
//! Location: /watcher/page      ──► /programs/p/watcher/page
//! Location: page?n=2           ──► /programs/p/watcher/page?n=2     (asked for /watcher/list)
//! Location: http://p/watcher/  ──► /programs/p/watcher/             (p is the program's Host)
//! Location: /admin, //other/   ──► dropped: only what stays below the program is passed on
//! ```

use hyper::header::{self, HeaderName, HeaderValue};

use super::path;

/// The paths and names that the references of one answer start from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a> {
    /// The part of the client's path before the program's own path.
    pub(super) prefix: &'a str,
    /// The path that the program was asked for.
    pub(super) path: &'a str,
    /// The name under which the program is asked, its `Host`.
    pub(super) program: &'a str,
    /// The name by which the client calls this host.
    pub(super) host: Option<&'a str>,
}

impl Base<'_> {
    /// Returns the headers as the client may see them, without those that would lead it out of the program.
    pub(super) fn lead_all(
        &self,
        references: Vec<(HeaderName, HeaderValue)>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        references.into_iter().filter_map(|(name, value)| {
            let text = value.to_str().ok()?;
            let led = if name == header::LINK {
                self.lead_links(text)
            } else {
                self.lead(text)?
            };
            Some((name, HeaderValue::try_from(led).ok()?))
        })
    }

    /// Returns where `reference` leads for the client; `None` if that is not below the program.
    fn lead(&self, reference: &str) -> Option<String> {
        // Browsers take a backslash for a slash, so the reference could lead elsewhere.
        if reference.contains('\\') {
            return None;
        }
        let (reference, fragment) = cut(reference.trim(), '#');
        let (reference, query) = cut(reference, '?');
        let path = match self.without_authority(reference)? {
            "" => self.path.to_owned(),
            path if path.starts_with('/') => resolve("/", path),
            path => resolve(self.path, path),
        };
        // A program that knows the prefix that clients use may have written it.
        let below = path.strip_prefix(self.prefix).unwrap_or(&path);
        path::stays(below).then(|| format!("{}{below}{query}{fragment}", self.prefix))
    }

    /// Returns the reference without scheme and authority; `None` if these are there and not the program's.
    fn without_authority<'r>(&self, reference: &'r str) -> Option<&'r str> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let scheme = reference.split_once(':').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| scheme.chars().all(is_word));
        let reference = match scheme {
            Some("http" | "https") => reference.split_once(':').map(|(_, rest)| rest)?,
            Some(_) => return None,
            None => reference,
        };
        let Some(rest) = reference.strip_prefix("//") else {
            // A scheme without an authority means different things to different clients.
            return scheme.is_none().then_some(reference);
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_own = |name: &str| authority.eq_ignore_ascii_case(name);
        let own = is_own(self.program) || self.host.is_some_and(is_own);
        own.then_some(if path.is_empty() { "/" } else { path })
    }

    /// Returns the links, with each target rewritten that leads below the program. All others stay as they
    /// are.
    fn lead_links(&self, links: &str) -> String {
        let mut led = String::with_capacity(links.len() + 64);
        let mut rest = links;
        let mut is_quoted = false;
        while let Some(at) = rest.find(['<', '"']) {
            let (before, from) = rest.split_at(at);
            led.push_str(before);
            if from.starts_with('"') {
                // An escaped quote does not end a quoted text.
                let escaped = before.len() - before.trim_end_matches('\\').len();
                is_quoted ^= !(is_quoted && escaped % 2 == 1);
            }
            let target = from.strip_prefix('<').filter(|_| !is_quoted);
            let Some((target, after)) = target.and_then(|it| it.split_once('>')) else {
                led.push_str(&from[..1]);
                rest = &from[1..];
                continue;
            };
            // A relative target leads from the client's path to where the program means already.
            let is_whole = target.starts_with('/') || target.contains(':');
            let leads = is_whole.then(|| self.lead(target)).flatten();
            led.push('<');
            led.push_str(leads.as_deref().unwrap_or(target));
            led.push('>');
            rest = after;
        }
        led.push_str(rest);
        led
    }
}

/// Splits the text before the first `mark`. Without one, the second part is empty.
fn cut(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

/// Resolves `path` against `base`, without `.` and `..` (RFC 3986, section 5.2.4).
fn resolve(base: &str, path: &str) -> String {
    let folder = &base[..=base.rfind('/').unwrap_or_default()];
    let mut segments: Vec<&str> = folder.split('/').collect();
    // Removes the empty text behind the last slash.
    segments.pop();
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." if is_last => segments.push(""),
            "." => {}
            ".." => {
                if segments.len() > 1 {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base<'_> = Base {
        prefix: "/programs/p",
        path: "/watcher/list/all",
        program: "p",
        host: Some("host.example:7700"),
    };

    #[test]
    fn what_stays_below_the_program_leads_there() {
        for (reference, leads) in [
            ("/watcher/page", "/programs/p/watcher/page"),
            ("/watcher", "/programs/p/watcher"),
            ("/watcher/?a=/../b#c", "/programs/p/watcher/?a=/../b#c"),
            ("page", "/programs/p/watcher/list/page"),
            ("page/", "/programs/p/watcher/list/page/"),
            ("./page", "/programs/p/watcher/list/page"),
            ("../page", "/programs/p/watcher/page"),
            (".", "/programs/p/watcher/list/"),
            ("..", "/programs/p/watcher/"),
            ("?n=2", "/programs/p/watcher/list/all?n=2"),
            ("#x", "/programs/p/watcher/list/all#x"),
            ("", "/programs/p/watcher/list/all"),
            ("/watcher/a/../b", "/programs/p/watcher/b"),
            ("/x/../watcher/b", "/programs/p/watcher/b"),
            ("http://p/watcher/b", "/programs/p/watcher/b"),
            (
                "https://HOST.example:7700/watcher/b",
                "/programs/p/watcher/b",
            ),
            ("//p/watcher/b", "/programs/p/watcher/b"),
            ("/programs/p/watcher/b", "/programs/p/watcher/b"),
            ("/watcher/50%25", "/programs/p/watcher/50%25"),
        ] {
            assert_eq!(BASE.lead(reference).as_deref(), Some(leads), "{reference}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_dropped() {
        for reference in [
            "/",
            "/admin",
            "/watcherx",
            "/watcher/../admin",
            "../../admin",
            "../../../../../etc",
            "/watcher/%2e%2e/admin",
            "/watcher/%252e%252e/admin",
            "/watcher/..;/admin",
            "/watcher/x%2f..%2f..%2fadmin",
            "/programs/q/watcher/b",
            "/programs/p/stop",
            "http://elsewhere/watcher/b",
            "http://p.example/watcher/b",
            "http://p@elsewhere/watcher/b",
            "http://elsewhere@p/watcher/b",
            "http://p",
            "//elsewhere/watcher/b",
            "///elsewhere/watcher/b",
            "/\\elsewhere/watcher",
            "\\\\elsewhere\\watcher",
            "http:/watcher/b",
            "http:watcher/b",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://p/watcher/b",
        ] {
            assert_eq!(BASE.lead(reference), None, "{reference}");
        }
    }

    #[test]
    fn links_lead_where_the_program_means() {
        for (links, led) in [
            (
                "</watcher/page?p=2>; rel=\"next\", </watcher/page?p=9>; rel=last",
                "</programs/p/watcher/page?p=2>; rel=\"next\", </programs/p/watcher/page?p=9>; rel=last",
            ),
            ("<page?p=2>; rel=next", "<page?p=2>; rel=next"),
            (
                "<http://p/watcher/x>; rel=self; title=\"a \\\"<b>\"",
                "</programs/p/watcher/x>; rel=self; title=\"a \\\"<b>\"",
            ),
            (
                "<https://elsewhere/x>; rel=license, </admin>; rel=x",
                "<https://elsewhere/x>; rel=license, </admin>; rel=x",
            ),
            ("</watcher/x", "</watcher/x"),
            ("", ""),
        ] {
            assert_eq!(BASE.lead_links(links), led);
        }
    }

    #[test]
    fn headers_are_led_or_left_out() {
        let header = |name, value| (name, HeaderValue::from_static(value));
        let led = BASE.lead_all(vec![
            header(header::LOCATION, "/admin"),
            header(header::CONTENT_LOCATION, "/watcher/x"),
            header(header::LINK, "</watcher/x>"),
        ]);
        let led: Vec<_> = led.collect();
        assert_eq!(
            led,
            [
                header(header::CONTENT_LOCATION, "/programs/p/watcher/x"),
                header(header::LINK, "</programs/p/watcher/x>"),
            ]
        );
    }
}
