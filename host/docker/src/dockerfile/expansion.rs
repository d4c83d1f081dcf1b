//! How long a line can become when the engine puts values in the place of variables.
//!
//! The engine does that in its own process, takes longer than in proportion to the length, and does not
//! look up before it is done. A few lines, each of which names the one before ten times, would keep it
//! busy for ever. So every value's greatest length is known here before the engine sees it, and with it
//! what each line costs.

use std::collections::BTreeMap;

use super::{
    Asked, Base, Refused,
    effort::{Effort, Instruction},
    report::refused,
};

/// The most that one line may become, bytes.
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
    /// The greatest length that a variable can have.
    lengths: BTreeMap<String, usize>,
    /// The same for one whose name can't be told; a name that nobody sets stands for nothing.
    otherwise: usize,
    /// Bytes of all `ARG`s, which an engine notes with every step that runs.
    args_bytes: usize,
    effort: Effort,
}

impl Expansion {
    pub(super) fn new<'a>(
        escape: char,
        bases: impl Iterator<Item = &'a Base>,
        asked: &Asked,
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
        // Engines know some of them without a declaration.
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
    /// One that becomes too long, or keeps the engine busy for too long.
    pub(super) fn take(
        &mut self,
        line: usize,
        keyword: &str,
        arguments: &str,
    ) -> Result<(), Refused> {
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

    /// The greatest lengths of a line's words, of which quotes may hold some together.
    fn words(&self, text: &str, length: usize) -> Vec<usize> {
        let is_plain = self.is_plain(text);
        let words = text.split_whitespace();
        words
            .map(|word| self.length(word).filter(|_| is_plain).unwrap_or(0))
            // All of it may be one word, and is counted once.
            .chain((!is_plain).then_some(length))
            .collect()
    }

    fn is_plain(&self, text: &str) -> bool {
        !text.contains(['"', '\'', '\\', self.escape])
    }

    /// The greatest length of a text of which no variable is left; `None` if that has no bound.
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

    /// Remembers the variables of a line, which together can be `length` long.
    fn declare(&mut self, text: &str, length: usize) {
        let is_plain = self.is_plain(text);
        let first = text.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            // `ENV name all of the rest`, or an `ARG` of which nothing else is known.
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
            // The engine may come to another name.
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
