//! Computes how long a line can become when the engine replaces variables by values.
//!
//! The engine does that in its own process. The time grows faster than the length, and the engine notices a
//! cancelled build only when it is done. A few lines, each of which names the variable of the line before
//! ten times, would keep the engine busy for ever. So this module knows the greatest length of every value
//! before the engine sees the file, and thereby the cost of each line.

use std::collections::BTreeMap;

use super::{
    Base, BuildInput, DockerfileRefusal,
    effort::{Effort, Instruction},
    report::refused,
};

/// The most that one line may hold after variables are replaced, bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The instructions in which engines look for variables.
const EXPANDED: [&str; 10] = [
    "ADD",
    "ARG",
    "COPY",
    "ENV",
    "EXPOSE",
    "LABEL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What is known about the lines so far.
pub(super) struct Expansion {
    escape: char,
    /// The greatest length that the value of each variable can have, bytes.
    lengths: BTreeMap<String, usize>,
    /// The greatest length of the value of a variable whose name can't be told, bytes. A variable that
    /// nobody sets has an empty value.
    otherwise: usize,
    /// Bytes of all `ARG`s, which an engine notes with every step that runs.
    args_bytes: usize,
    effort: Effort,
}

impl Expansion {
    pub(super) fn new<'a>(
        escape: char,
        bases: impl Iterator<Item = &'a Base>,
        asked: &BuildInput,
    ) -> Self {
        let mut expansion = Self {
            escape,
            lengths: BTreeMap::new(),
            otherwise: 0,
            args_bytes: 0,
            effort: Effort::default(),
        };
        for base in bases {
            expansion.effort.build_on(base);
            for (name, length) in &base.variables {
                expansion.remember(name, *length);
            }
        }
        // Engines know some of these variables without a declaration.
        for (name, value) in &asked.args {
            expansion.remember(name, value.len());
        }
        for (name, value) in asked.variables() {
            expansion.remember(name, value.len());
        }
        expansion
    }

    /// Takes the next line in.
    ///
    /// # Errors
    /// [`DockerfileRefusal`] for a line that becomes too long, or keeps the engine busy for too long.
    pub(super) fn take(
        &mut self,
        line: usize,
        keyword: &str,
        arguments: &str,
    ) -> Result<(), DockerfileRefusal> {
        let at = |reason: &str| refused(line, reason);
        let is_expanded = EXPANDED.contains(&keyword);
        let length = match is_expanded {
            true => self.length(arguments).ok_or_else(|| {
                at("replacing inside a value, as in ${name/x/y}, is not taken here")
            })?,
            false => arguments.len(),
        };
        if length > LINE_BYTES_MAX {
            return Err(at(
                "with its variables the line can become longer than 64 KiB",
            ));
        }
        let noted = if keyword == "RUN" { self.args_bytes } else { 0 };
        let instruction = Instruction {
            expanded: if is_expanded {
                self.words(arguments, length)
            } else {
                Vec::new()
            },
            noted_bytes: length.saturating_add(noted),
            adds_parts: matches!(keyword, "ARG" | "ENV" | "EXPOSE" | "LABEL"),
        };
        self.effort
            .take(&instruction)
            .map_err(|error| refused(line, error.to_string()))?;
        if matches!(keyword, "ENV" | "ARG") {
            self.declare(arguments, length);
        }
        if keyword == "ARG" {
            self.args_bytes = self.args_bytes.saturating_add(length);
        }
        Ok(())
    }

    /// Returns the greatest lengths of a line's words. Quotes may join several of them into one word.
    fn words(&self, text: &str, length: usize) -> Vec<usize> {
        let is_plain = self.is_plain(text);
        let words = text.split_whitespace();
        words
            .map(|word| self.length(word).filter(|_| is_plain).unwrap_or(0))
            // The whole line may be one word, so it is counted once, as one word.
            .chain((!is_plain).then_some(length))
            .collect()
    }

    fn is_plain(&self, text: &str) -> bool {
        !text.contains(['"', '\'', '\\', self.escape])
    }

    /// Returns the greatest length of a text after all its variables are replaced; `None` if it has no
    /// bound.
    fn length(&self, text: &str) -> Option<usize> {
        let mut length = text.len();
        for behind in text.split('$').skip(1) {
            let (braced, behind) = match behind.strip_prefix('{') {
                Some(behind) => (true, behind),
                None => (false, behind),
            };
            let (name, after) = behind.split_at(name_length(behind));
            if braced && after.starts_with('/') {
                return None;
            }
            let known = self.lengths.get(name).copied();
            length = length.saturating_add(known.unwrap_or(self.otherwise));
        }
        Some(length)
    }

    /// Remembers the variables that a line declares. Their values together can be `length` long.
    fn declare(&mut self, text: &str, length: usize) {
        let is_plain = self.is_plain(text);
        let first = text.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            // The line is `ENV name all of the rest`, or an `ARG` of which nothing but the name is known.
            self.remember(first, length);
        }
        for word in text.split_whitespace() {
            let Some((name, _)) = word.split_once('=') else {
                continue;
            };
            let own = self.length(word).filter(|_| is_plain);
            self.remember(name, own.unwrap_or(length));
        }
    }

    fn remember(&mut self, name: &str, length: usize) {
        if name_length(name) < name.len() {
            // The engine may read another name here, so the length counts for every name.
            self.otherwise = self.otherwise.max(length);
            return;
        }
        let known = self.lengths.entry(name.to_owned()).or_default();
        *known = length.max(*known);
    }
}

fn name_length(text: &str) -> usize {
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    text.find(|it| !is_name(it)).unwrap_or(text.len())
}
