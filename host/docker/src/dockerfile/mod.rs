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
//! network (`ADD` with an URL), what asks for another builder (`# syntax=` of somebody,
//! here-documents, secrets of a step), what takes effect where nobody looks (`ONBUILD`, `VOLUME`),
//! and values that grow without bound. What changes nothing is passed over, with a note.

mod copies;
mod effort;
mod expansion;
mod flags;
mod here_documents;
mod lines;
mod mounts;
mod names;
mod platform;
mod registries;
mod report;
mod steps;
mod target;
#[cfg(test)]
mod tests;
mod volumes;
mod written;

pub use platform::Platform;
pub use registries::Registries;
pub use report::{Note, REFUSALS_MAX, Refusals, Refused};
pub use volumes::is_mounted_over;
pub use written::{Shown, ToBuild};

use std::collections::BTreeMap;

use report::{Report, refused};

/// The most that a Dockerfile may hold, bytes.
pub const DOCKERFILE_BYTES_MAX: usize = 1024 * 1024;
/// The most that one instruction may hold, bytes: engines read no longer line.
pub const INSTRUCTION_BYTES_MAX: usize = 60 * 1024;
/// The most instructions: engines stack at most 127 layers on each other.
pub const INSTRUCTIONS_MAX: usize = 1_000;

/// What a build is asked for beyond its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The stage that becomes the image, by name or number; the last one if none is named.
    pub target: Option<String>,
    /// Values for `ARG`s of the file, in the place of their defaults.
    pub args: BTreeMap<String, String>,
    /// What is built for.
    pub platform: Platform,
}

/// A Dockerfile that was read and has nothing in it that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    escape: char,
    asked: Asked,
    steps: Vec<Step>,
    notes: Vec<Note>,
}

/// An image that is built on or copied from, as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Its id.
    pub id: String,
    /// How long the value of each of its environment variables is, bytes.
    pub variables: BTreeMap<String, usize>,
    /// How many labels it has.
    pub labels: usize,
    /// How much its labels and its history say, bytes.
    pub other_bytes: usize,
}

/// One instruction. Where it names an image of the engine, that stands apart from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    /// As people wrote it, on one line.
    shown: String,
    keyword: String,
    before: String,
    image: Option<Image>,
    after: String,
    /// Sources that are unpacked if they are archives, by paths or patterns.
    unpacked: Vec<String>,
}

/// Where a step takes files from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Image {
    /// An image, by the name that people gave it.
    Named(String),
    /// The tree itself, every file and folder with this mode. `files` must be plain files for that
    /// to be what was asked for.
    Tree { mode: u32, files: Vec<String> },
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            target: None,
            args: BTreeMap::new(),
            platform: Platform::of_this_machine(),
        }
    }
}

impl Asked {
    /// The variables that need no value.
    fn variables(&self) -> [(&'static str, String); 9] {
        self.platform.variables(self.target.as_deref())
    }
}

impl Dockerfile {
    /// Reads and checks a file by itself.
    ///
    /// # Errors
    /// [`Refusals`] names every line that can't be built.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusals> {
        Self::read_for(bytes, Asked::default())
    }

    /// Reads and checks what is asked for: the stages up to the target.
    ///
    /// # Errors
    /// [`Refusals`] names every line that can't be built.
    pub fn read_for(bytes: &[u8], asked: Asked) -> Result<Self, Refusals> {
        if bytes.len() > DOCKERFILE_BYTES_MAX {
            return Err(refused(1, "the file is larger than 1 MiB").into());
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            refused(line, "the text is not UTF-8")
        })?;
        let mut report = Report::default();
        let (escape, mut lines) = lines::read(text, &mut report);
        if let Some(target) = &asked.target {
            target::cut(&mut lines, target)?;
        }
        let steps = steps::read(escape, &lines, &asked, &mut report);
        Ok(Self {
            notes: report.finish()?,
            escape,
            asked,
            steps,
        })
    }

    /// What is passed over.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The images that it takes from the engine, each once, with the line that names it first.
    pub fn images(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut seen = std::collections::BTreeSet::new();
        let named = self.steps.iter().filter_map(|step| match &step.image {
            Some(Image::Named(name)) => Some((step.line, name.as_str())),
            Some(Image::Tree { .. }) | None => None,
        });
        named.filter(move |(_, image)| seen.insert(*image))
    }

    /// What is unpacked if it is an archive: line, and paths or patterns of the tree.
    pub fn unpacked(&self) -> impl Iterator<Item = (usize, &[String])> {
        let steps = self.steps.iter().filter(|step| !step.unpacked.is_empty());
        steps.map(|step| (step.line, step.unpacked.as_slice()))
    }

    /// The modes other than its own with which the tree is copied from: line, mode, and the paths
    /// that must be plain files.
    pub fn modes(&self) -> impl Iterator<Item = (usize, u32, &[String])> {
        self.steps.iter().filter_map(|step| match &step.image {
            Some(Image::Tree { mode, files }) => Some((step.line, *mode, files.as_slice())),
            Some(Image::Named(_)) | None => None,
        })
    }
}
