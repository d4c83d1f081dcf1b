//! Rules about the text of a file.

use super::{Finding, Report};

const WARN_LINES: usize = 300;
const MAX_LINES: usize = 400;
/// The longest name of a test, characters.
const TEST_NAME_MAX: usize = 60;

/// Folders that exist only on one person's machine.
const MACHINE_PATHS: [&str; 3] = ["/home/", "/root/", "/Users/"];

/// Where this repository may point to: documentation, and addresses that mean this machine.
const HOSTS: [&str; 15] = [
    "127.0.0.1",
    "[::1]",
    "docs.docker.com",
    "docs.rs",
    "example.com",
    "example.net",
    "example.org",
    "github.com",
    "gvisor.dev",
    "json-schema.org",
    "keepachangelog.com",
    "rustup.rs",
    "semver.org",
    "www.rfc-editor.org",
    "www.rust-lang.org",
];

/// Checks one file.
pub(super) fn check(name: &str, content: &str, report: &mut Report) {
    // These rules' own words and tests would break them.
    if name == "xtask/src/tidy/text.rs" {
        return;
    }
    let mut file = File::new(name, content);
    file.check_lines();
    if name.ends_with(".rs") {
        file.check_rust();
    }
    if name.ends_with("Cargo.toml") && content.contains("[package]") {
        file.require(
            "lints",
            "[lints]\nworkspace = true",
            "add `[lints]` with `workspace = true`",
        );
    }
    if content.starts_with("#!/usr/bin/env bash") {
        file.require(
            "shell",
            "\nset -euo pipefail\n",
            "add `set -euo pipefail` below the head comment",
        );
    }
    report.findings.append(&mut file.findings);
    file.check_length(report);
}

struct File<'a> {
    name: &'a str,
    content: &'a str,
    lines: Vec<&'a str>,
    /// Lines from this index on are test code.
    tests_from: usize,
    findings: Vec<Finding>,
}

impl<'a> File<'a> {
    fn new(name: &'a str, content: &'a str) -> Self {
        let lines: Vec<&str> = content.lines().collect();
        let in_tests = name.split('/').any(|part| part == "tests") || name.ends_with("tests.rs");
        let tests_from = if in_tests {
            0
        } else {
            lines
                .windows(2)
                .position(|pair| {
                    pair[0] == "#[cfg(test)]"
                        && pair[1].starts_with("mod ")
                        && pair[1].ends_with('{')
                })
                .unwrap_or(lines.len())
        };
        Self {
            name,
            content,
            lines,
            tests_from,
            findings: Vec::new(),
        }
    }

    fn report(&mut self, index: usize, rule: &'static str, advice: &str) {
        let allowance = format!("tidy: allow({rule})");
        let above = index.checked_sub(1).and_then(|i| self.lines.get(i));
        let here = self.lines.get(index);
        if here
            .into_iter()
            .chain(above)
            .any(|line| line.contains(&allowance))
        {
            return;
        }
        self.findings.push(Finding {
            file: self.name.to_owned(),
            line: index + 1,
            rule,
            advice: advice.to_owned(),
        });
    }

    fn require(&mut self, rule: &'static str, needle: &str, advice: &str) {
        if !self.content.contains(needle) {
            self.report(0, rule, advice);
        }
    }

    fn check_lines(&mut self) {
        for index in 0..self.lines.len() {
            let line = self.lines[index];
            if line.ends_with([' ', '\t', '\r']) {
                self.report(index, "whitespace", "remove the blanks at the end");
            }
            if MACHINE_PATHS.iter().any(|path| has_path(line, path)) {
                self.report(index, "machine-path", "this path is one machine's: take it from the environment, or make a relative one");
            }
            if let Some(host) = foreign_host(line) {
                let advice = format!(
                    "{host} is not on the list of hosts in xtask/src/tidy/text.rs: link to documentation only"
                );
                self.report(index, "url", &advice);
            }
        }
        if !self.content.is_empty() && !self.content.ends_with('\n') {
            self.report(
                self.lines.len().saturating_sub(1),
                "whitespace",
                "end the file with a newline",
            );
        }
    }

    fn check_rust(&mut self) {
        if self.tests_from > 0 && !self.content.trim_start().starts_with("//!") {
            self.report(
                0,
                "module-head",
                "begin with `//!`: what this file is for, and its happy path",
            );
        }
        let pure_root = ["machine/src/lib.rs", "program/src/lib.rs"].contains(&self.name);
        if pure_root {
            self.require(
                "no-std",
                "#![no_std]",
                "this crate is pure: keep `#![no_std]`",
            );
        }
        for index in 0..self.lines.len() {
            let line = self.lines[index].trim_start();
            if line.starts_with("//") {
                continue;
            }
            if index >= self.tests_from
                && (line.contains("thread::sleep(") || line.contains("time::sleep("))
            {
                self.report(index, "sleep", "wait for the thing itself (a channel, a watch, a poll with a deadline), not for time");
            }
            if self.names_a_long_test(index) {
                self.report(
                    index,
                    "test-name",
                    "say subject and result in at most 60 characters",
                );
            }
            if line.contains("allow(unsafe_code)") {
                self.report(
                    index,
                    "unsafe",
                    "this workspace has no unsafe code: use a crate that wraps it",
                );
            }
        }
    }

    /// Whether the line begins a test whose name is too long.
    fn names_a_long_test(&self, index: usize) -> bool {
        let above = &self.lines[..index];
        let mut attributes = above.iter().rev().map(|line| line.trim_start());
        let is_test = attributes
            .by_ref()
            .take_while(|line| line.starts_with("#["))
            .any(|line| line.starts_with("#[test") || line.starts_with("#[tokio::test"));
        let line = self.lines[index].trim_start();
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        let name = name.and_then(|rest| rest.split('(').next());
        is_test && name.is_some_and(|name| name.len() > TEST_NAME_MAX)
    }

    fn check_length(&self, report: &mut Report) {
        let lines = self.tests_from;
        if !self.name.ends_with(".rs") || lines <= WARN_LINES {
            return;
        }
        let finding = Finding {
            file: self.name.to_owned(),
            line: lines,
            rule: "length",
            advice: format!(
                "{lines} lines before the tests: split it at an idea (aim at {WARN_LINES}, at most {MAX_LINES})"
            ),
        };
        if lines > MAX_LINES {
            report.findings.push(finding);
        } else {
            report.warnings.push(finding);
        }
    }
}

/// Whether the line names `path` as an absolute path, not as the middle of another one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || "-_.}~)*>".contains(before))
    })
}

/// The first host of a web address in the line that is not in `HOSTS`. An address that is put
/// together when the program runs (`{host}`, `$host`) has no host to check.
fn foreign_host(line: &str) -> Option<&str> {
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let scheme_is_web = rest[..at].ends_with("http") || rest[..at].ends_with("https");
        rest = &rest[at + 3..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-.[]{}$:".contains(c)))
            .unwrap_or(rest.len());
        let authority = &rest[..end];
        let host = if authority.starts_with('[') {
            authority.split_inclusive(']').next().unwrap_or(authority)
        } else {
            authority
                .split(':')
                .next()
                .unwrap_or(authority)
                .trim_end_matches('.')
        };
        let built_later = host.is_empty() || host.contains(['{', '$']);
        // Names without a dot, and those under these endings, are nobody's.
        let nobodys = !host.contains(['.', '['])
            || [".example", ".invalid", ".test"]
                .iter()
                .any(|end| host.ends_with(end));
        if scheme_is_web && !built_later && !nobodys && !HOSTS.contains(&host) {
            return Some(host);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, content: &str) -> Vec<(usize, &'static str)> {
        let mut report = Report::default();
        check(name, content, &mut report);
        report.findings.iter().map(|f| (f.line, f.rule)).collect()
    }

    #[test]
    fn machine_paths_and_foreign_hosts_are_found() {
        assert_eq!(broken("a.md", "see /home/ann/x\n"), [(1, "machine-path")]);
        assert!(broken("a.md", "see src/home/x and ~/x/y\n").is_empty());
        assert_eq!(broken("a.md", "\nhttps://mirror.dev/x\n"), [(2, "url")]);
        assert!(
            broken(
                "a.md",
                "http://127.0.0.1:80/ https://docs.rs. http://mirror.test http://{a}/ http://[::1]:1/\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_reason_allows_a_breach() {
        let excused =
            "//! x\n// tidy: allow(machine-path) an attack under test\nlet p = \"/root/x\";\n";
        assert!(broken("a/src/a.rs", excused).is_empty());
    }

    #[test]
    fn sleeps_are_found_in_tests_only() {
        let code = "//! x\nfn a() { std::thread::sleep(D); }\n#[cfg(test)]\nmod tests {\n    fn b() { tokio::time::sleep(D).await }\n}\n";
        assert_eq!(broken("a/src/a.rs", code), [(5, "sleep")]);
        assert_eq!(broken("a/tests/a.rs", code).len(), 2);
    }

    #[test]
    fn long_names_of_tests_are_found() {
        let name = "a".repeat(61);
        let code = format!(
            "//! x\n#[tokio::test(x)]\n#[should_panic]\nasync fn {name}() {{}}\nfn {name}() {{}}\n"
        );
        assert_eq!(broken("a/tests/a.rs", &code), [(4, "test-name")]);
    }

    #[test]
    fn long_files_fail_and_test_code_does_not_count() {
        let code = format!("//! x\n{}", "fn a() {}\n".repeat(420));
        assert_eq!(broken("a/src/a.rs", &code), [(421, "length")]);
        assert!(broken("a/tests/a.rs", &code).is_empty());
        let mostly_tests = format!(
            "//! x\n#[cfg(test)]\nmod tests {{\n{}",
            "fn a() {}\n".repeat(420)
        );
        assert!(broken("a/src/a.rs", &mostly_tests).is_empty());
    }

    #[test]
    fn heads_and_manifests_are_complete() {
        assert_eq!(broken("a/src/a.rs", "fn a() {}\n"), [(1, "module-head")]);
        assert_eq!(broken("program/src/lib.rs", "//! x\n"), [(1, "no-std")]);
        assert_eq!(broken("a/Cargo.toml", "[package]\n"), [(1, "lints")]);
        assert_eq!(broken("run", "#!/usr/bin/env bash\n"), [(1, "shell")]);
        assert_eq!(
            broken("a.md", "a \nb"),
            [(1, "whitespace"), (2, "whitespace")]
        );
    }
}
