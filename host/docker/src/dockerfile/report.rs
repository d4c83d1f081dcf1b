//! The report on a file that is read: all refusals at once, and notes.

use std::fmt;

/// The most refusals that are told of one file: with so many, the author has enough to mend at first.
pub const REFUSALS_MAX: usize = 20;
/// The most notes that are told of one file.
const NOTES_MAX: usize = 50;

/// One reason why a Dockerfile is not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DockerfileRefusal {
    /// The line on which the instruction begins, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub reason: String,
}

/// Every reason why a Dockerfile is not built, in the order of its lines: at least one, at most
/// [`REFUSALS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    list: Vec<DockerfileRefusal>,
}

/// A note on an instruction or option that is passed over: what effect that has, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line on which the instruction begins, from 1.
    pub line: usize,
    /// The note itself: what is passed over.
    pub text: String,
}

/// The refusals and notes so far.
#[derive(Default)]
pub(super) struct Report {
    refusals: Vec<DockerfileRefusal>,
    notes: Vec<Note>,
}

impl Refusals {
    /// Returns the refusals, ordered by line.
    pub fn iter(&self) -> impl Iterator<Item = &DockerfileRefusal> {
        self.list.iter()
    }
}

impl From<DockerfileRefusal> for Refusals {
    fn from(refused: DockerfileRefusal) -> Self {
        let list = vec![refused];
        Self { list }
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Dockerfile, ")?;
        for (at, refused) in self.list.iter().enumerate() {
            let between = if at == 0 { "" } else { "; and " };
            write!(formatter, "{between}{refused}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "note: line {}: {}", self.line, self.text)
    }
}

impl Report {
    /// Takes in a refusal. Only the first refusal of a line is kept, because the others follow from it.
    pub(super) fn refuse(&mut self, refused: DockerfileRefusal) {
        let is_known = self.refusals.iter().any(|it| it.line == refused.line);
        if !is_known && !self.is_full() {
            self.refusals.push(refused);
        }
    }

    pub(super) fn note(&mut self, line: usize, text: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            let text = text.into();
            self.notes.push(Note { line, text });
        }
    }

    /// Returns whether no further refusal would be told, so that reading on is useless.
    pub(super) fn is_full(&self) -> bool {
        self.refusals.len() == REFUSALS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Returns the notes.
    ///
    /// # Errors
    /// The refusals, if there are any.
    pub(super) fn finish(mut self) -> Result<Vec<Note>, Refusals> {
        if self.refusals.is_empty() {
            return Ok(self.notes);
        }
        self.refusals.sort_by_key(|refused| refused.line);
        let list = self.refusals;
        Err(Refusals { list })
    }
}

pub(super) fn refused(line: usize, reason: impl Into<String>) -> DockerfileRefusal {
    let reason = reason.into();
    DockerfileRefusal { line, reason }
}
