//! Reads `.dockerignore`, which says which files of a folder are source. Client and host must read it in the
//! same way, and as Docker does.
//!
//! ```text
//! text ─► Ignore ─► root() ─► enter("app") ─► look("app/secrets")
//! ```
//!
//! The last line that matches a path, or a folder above it, decides. As in Docker, a line that would change
//! nothing for a folder is not compared with that folder, so `a/b` and then `!a` leaves `a/b` out. Where
//! Docker's classic client differs from its default one, this module follows the default one: the classic
//! client does not enter an ignored folder for an exception with a wildcard, such as `!**/keep`.

mod pattern;

use pattern::Pattern;

/// The largest size of a `.dockerignore`, bytes.
pub const IGNORE_BYTES_MAX: usize = 256 * 1024;

/// A line of a `.dockerignore` that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The reason why the line can't be used.
    pub reason: String,
}

impl std::fmt::Display for IgnoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, ".dockerignore, line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for IgnoreError {}

/// The lines of a `.dockerignore`, in their order.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Whether the line begins with `!`: paths that it matches stay in.
    is_exception: bool,
    pattern: Pattern,
}

/// The result for one path: which lines matched it, and whether it is left out. The result for a folder is
/// needed to look at the paths in it.
#[derive(Clone, Debug, Default)]
pub struct IgnoreMatch {
    matched: Vec<bool>,
    is_ignored: bool,
}

impl IgnoreMatch {
    /// Returns whether the path is left out.
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        self.is_ignored
    }
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// [`IgnoreError`] names the first line that is no pattern.
    pub fn read(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > IGNORE_BYTES_MAX {
            return Err(IgnoreError {
                line: 1,
                reason: format!("the file is larger than {} KiB", IGNORE_BYTES_MAX / 1024),
            });
        }
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.split('\n')) {
            let rule = rule(line).map_err(|reason| IgnoreError {
                line: number,
                reason,
            })?;
            rules.extend(rule);
        }
        Ok(Self { rules })
    }

    /// Returns the result for the folder itself, with which the paths in it are looked at.
    #[must_use]
    pub fn root(&self) -> IgnoreMatch {
        IgnoreMatch {
            matched: vec![false; self.rules.len()],
            is_ignored: false,
        }
    }

    /// Looks at `path`, which is relative to the folder, has `/` between its names, and lies in the folder
    /// whose result is `above`.
    #[must_use]
    pub fn look(&self, above: &IgnoreMatch, path: &str) -> IgnoreMatch {
        let mut is_ignored = false;
        let mut matched = vec![false; self.rules.len()];
        for (at, rule) in self.rules.iter().enumerate() {
            let inherited = above.matched.get(at).copied().unwrap_or(false);
            // A line that would change nothing is not compared with the path, as in Docker.
            let is_asked = rule.is_exception == is_ignored;
            if inherited || (is_asked && rule.pattern.matches(path)) {
                matched[at] = true;
                is_ignored = !rule.is_exception;
            }
        }
        IgnoreMatch {
            matched,
            is_ignored,
        }
    }

    /// Returns whether `path` is left out. Looks at each folder above it first.
    #[must_use]
    pub fn is_ignored(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let mut looked = self.root();
        for end in ends.chain([path.len()]) {
            looked = self.look(&looked, &path[..end]);
        }
        looked.is_ignored
    }

    /// Returns whether an exception could match something in `folder`. If so, `folder` must be walked
    /// although it is left out.
    #[must_use]
    pub fn may_keep_inside(&self, folder: &str) -> bool {
        let mut exceptions = self.rules.iter().filter(|rule| rule.is_exception);
        exceptions.any(|rule| rule.pattern.may_match_inside(folder))
    }
}

/// Reads one line. Returns `None` for a comment or an empty line.
fn rule(line: &str) -> Result<Option<Rule>, String> {
    // A comment begins in the first column only: " #x" names a file.
    if line.starts_with('#') {
        return Ok(None);
    }
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (is_exception, text) = match line.strip_prefix('!') {
        Some(text) => (true, text.trim()),
        None => (false, line),
    };
    let path = clean(text);
    if path.is_empty() {
        return Err("'!' needs the path that is to stay in behind it".to_owned());
    }
    let pattern = Pattern::read(&path).map_err(|reason| format!("{text:?} {reason}"))?;
    Ok(Some(Rule {
        is_exception,
        pattern,
    }))
}

/// Returns the shortest text for the same path, without a slash at either end; empty for no path at all.
fn clean(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let is_absolute = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match parts.is_empty() {
        // `.` stands for the folder itself, which no line is ever compared with.
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of `verdicts.txt`. Each has the lines of a `.dockerignore`, and paths with what became of
    /// them when a Docker client sent the folder to an engine.
    const VERDICTS: &str = include_str!("verdicts.txt");

    #[test]
    fn verdicts_are_those_of_a_real_engine() {
        let mut pairs = 0;
        let mut wrong = Vec::new();
        for block in VERDICTS.split("\n\n") {
            let lines = block.lines().filter(|line| !line.starts_with("//"));
            let (patterns, paths): (Vec<&str>, Vec<&str>) =
                lines.partition(|line| line.starts_with("| "));
            let text: Vec<&str> = patterns.iter().map(|line| &line[2..]).collect();
            let ignore = Ignore::read(&text.join("\n")).unwrap();
            for line in paths {
                let (verdict, path) = line.split_once(' ').unwrap();
                pairs += 1;
                if ignore.is_ignored(path) != (verdict == "out") {
                    wrong.push(format!("{text:?}: {path} is {verdict}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(pairs > 300, "{pairs}");
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_line() {
        for (text, said) in [
            ("a\n\n!\n", "line 3: '!' needs the path"),
            ("a\n! \n", "line 2: '!' needs"),
            ("[a", "line 1: \"[a\" has a '[' without"),
            ("a\\", "line 1: \"a\\\\\" ends with"),
            ("[]a]", "'['"),
            ("x[z-a]", "line 1: \"x[z-a]\" has a range"),
        ] {
            let error = Ignore::read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        let large = "a\n".repeat(IGNORE_BYTES_MAX);
        assert!(Ignore::read(&large).is_err());
    }

    #[test]
    fn an_exception_with_a_wildcard_is_found_in_what_is_left_out() {
        let ignore = Ignore::read("*\r\n!**/keep\r\n").unwrap();
        assert!(!ignore.is_ignored("a/b/keep"));
        assert!(ignore.is_ignored("a/b/other"));
    }

    #[test]
    fn a_folder_is_walked_only_if_an_exception_can_match_in_it() {
        let inside = |text: &str, folder: &str| Ignore::read(text).unwrap().may_keep_inside(folder);
        assert!(!inside("*", "a"));
        assert!(inside("*\n!a/b/c", "a"));
        assert!(inside("*\n!a/b/c", "a/b"));
        assert!(!inside("*\n!a/b/c", "a/c"));
        assert!(!inside("*\n!a/b/c", "b"));
        assert!(inside("*\n!**/keep", "deep/down"));
        assert!(inside("*\n!a/**", "a"));
        assert!(!inside("*\n!*.md", "a"));
    }

    #[test]
    fn a_costly_pattern_takes_no_longer_than_its_length() {
        let text = format!("{}b", "*a".repeat(2_000));
        let ignore = Ignore::read(&text).unwrap();
        assert!(!ignore.is_ignored(&"a".repeat(1_000)));
    }
}
