//! Reads a Dockerfile before the engine does, and writes what the engine may build. Pure.
//!
//! ```text
//! bytes ─► lines: one instruction a line ─► steps: what each may do ─► Dockerfile
//!                                                  images() ─► looked up ─► to_build(ids)
//! ```
//!
//! The engine never sees what was sent, only what this module understood of it: no comments, no
//! continued lines, every image by its id. So it does not matter whether the engine reads a
//! Dockerfile in the same way: what was checked is what is built.
//!
//! Refused is what makes the engine itself reach out, since it does so from the machine's own
//! network (`ADD` with an URL), what asks for another builder (`# syntax=`, here-documents, options
//! of `RUN`), what takes effect where nobody looks (`ONBUILD`), and values that grow without bound.

mod expansion;
mod lines;
mod names;
mod registries;
mod steps;
#[cfg(test)]
mod tests;

pub use registries::Registries;

use std::collections::BTreeMap;

use expansion::Expansion;

/// The most that a Dockerfile may hold, bytes.
pub const DOCKERFILE_BYTES_MAX: usize = 1024 * 1024;
/// The most that one instruction may hold, bytes: engines read no longer line.
pub const INSTRUCTION_BYTES_MAX: usize = 60 * 1024;
/// The most instructions: engines stack at most 127 layers on each other.
pub const INSTRUCTIONS_MAX: usize = 1_000;

/// Why a Dockerfile is not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Dockerfile, line {line}: {reason}")]
pub struct Refused {
    /// The line on which the instruction begins, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub reason: String,
}

/// A Dockerfile that was read and has nothing in it that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    escape: char,
    steps: Vec<Step>,
}

/// An image that is built on or copied from, as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Its id.
    pub id: String,
    /// How long the value of each of its environment variables is, bytes.
    pub variables: BTreeMap<String, usize>,
}

/// One instruction. Where it names an image of the engine, that stands apart from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    keyword: String,
    before: String,
    image: Option<String>,
    after: String,
}

impl Dockerfile {
    /// Reads and checks.
    ///
    /// # Errors
    /// [`Refused`] names the first line that can't be built.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        let at = |line, reason: &str| Refused {
            line,
            reason: reason.to_owned(),
        };
        if bytes.len() > DOCKERFILE_BYTES_MAX {
            return Err(at(1, "the file is larger than 1 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            at(line, "the text is not UTF-8")
        })?;
        let (escape, lines) = lines::read(text)?;
        let steps = steps::read(escape, lines)?;
        Ok(Self { escape, steps })
    }

    /// The images that it takes from the engine, each once, with the line that names it first.
    pub fn images(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut seen = std::collections::BTreeSet::new();
        let named = self.steps.iter();
        named
            .filter_map(|step| Some((step.line, step.image.as_deref()?)))
            .filter(move |(_, image)| seen.insert(*image))
    }

    /// What the engine is to build: `bases` holds every image of [`images`](Self::images), and the
    /// layers of every stage carry `labels`, by name and value.
    ///
    /// # Errors
    /// [`Refused`] for an image that is not in there, and for a line that becomes too long with the
    /// variables of the images.
    pub fn to_build(
        &self,
        bases: &BTreeMap<String, Base>,
        labels: &[(&str, &str)],
    ) -> Result<String, Refused> {
        let mut text = String::new();
        if self.escape != lines::ESCAPE {
            text.push_str(&format!("# escape={}\n", self.escape));
        }
        let labels = labels
            .iter()
            .map(|(name, value)| format!(" {name}={value}"));
        let labels: String = labels.collect();
        let mut expansion = Expansion::new(self.escape, bases.values());
        for step in &self.steps {
            let image = match &step.image {
                None => "",
                Some(name) => bases.get(name).map(|it| it.id.as_str()).ok_or_else(|| {
                    lines::refused(step.line, &format!("the image {name} was not found"))
                })?,
            };
            let Step {
                keyword,
                before,
                after,
                ..
            } = step;
            let arguments = format!("{before}{image}{after}");
            expansion.take(step.line, keyword, &arguments)?;
            text.push_str(&format!("{keyword} {arguments}\n"));
            // Set anew after each label of the file's own, which could say something else.
            if matches!(keyword.as_str(), "FROM" | "LABEL") {
                text.push_str(&format!("LABEL{labels}\n"));
            }
        }
        Ok(text)
    }
}
