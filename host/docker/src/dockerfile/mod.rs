//! Reads a Dockerfile before the engine does, and writes the text that the engine may build. The module has
//! no side effects.
//!
//! ```text
//! bytes ─► lines: one instruction a line ─► steps: what each may do ─► Dockerfile
//!                                                  images() ─► looked up ─► to_build(ids)
//! ```
//!
//! The engine never sees the text that was sent, only what this module understood of that text: no
//! comments, no continued lines, every image by its id. So it does not matter whether the engine reads a
//! Dockerfile in the same way: the engine builds only what this module checked.
//!
//! The module refuses:
//! - instructions with which the engine itself reaches out (`ADD` with an URL): the engine does so from the
//!   machine's own network,
//! - instructions that ask for another builder (`# syntax=` of somebody, here-documents, secrets of a step),
//! - instructions that take effect where nobody looks (`ONBUILD`, `VOLUME`),
//! - values that grow without bound.
//!
//! Instructions that change nothing are passed over, with a note. A `HEALTHCHECK` is noted too: no sandbox runs
//! it.

mod copies;
mod effort;
mod engine_dockerfile;
mod expansion;
mod flags;
mod healthcheck;
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

pub use engine_dockerfile::{EngineDockerfile, InstructionText};
pub use platform::Platform;
pub use registries::Registries;
pub use report::{DockerfileRefusal, Note, REFUSALS_MAX, Refusals};
pub use volumes::is_mounted_over;

use std::collections::BTreeMap;

use report::{Report, refused};

/// The most that a Dockerfile may hold, bytes.
pub const DOCKERFILE_BYTES_MAX: usize = 1024 * 1024;
/// The most that one instruction may hold, bytes: engines read no line that is longer.
pub const INSTRUCTION_BYTES_MAX: usize = 60 * 1024;
/// The most instructions: engines stack at most 127 layers on each other.
pub const INSTRUCTIONS_MAX: usize = 1_000;

/// What a build is asked for beyond its Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInput {
    /// The stage that becomes the image, by name or number; the last one if none is named.
    pub target: Option<String>,
    /// Values for `ARG`s of the file, which replace the defaults of the file.
    pub args: BTreeMap<String, String>,
    /// The platform for which the image is built.
    pub platform: Platform,
}

/// A Dockerfile that was read and checked: nothing in it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    escape: char,
    asked: BuildInput,
    steps: Vec<Step>,
    notes: Vec<Note>,
}

/// An image of the engine from which a stage is built or files are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The id of the image.
    pub id: String,
    /// The length of the value of each environment variable of the image, bytes, by the variable's name.
    pub variables: BTreeMap<String, usize>,
    /// How many labels the image has.
    pub labels: usize,
    /// The length of the image's labels and history, bytes.
    pub other_bytes: usize,
}

/// One instruction. If it names an image of the engine, the image stands apart from the text: the
/// instruction is the keyword, `before`, the image, and `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    /// The instruction as its author wrote it, joined into one line.
    shown: String,
    keyword: String,
    before: String,
    image: Option<Image>,
    after: String,
    /// The sources that the engine unpacks if they are archives, as paths or patterns.
    unpacked: Vec<String>,
}

/// Where a step takes files from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Image {
    /// An image, by the name that the Dockerfile gives.
    Named(String),
    /// The source tree itself, in which every file and folder has this mode. `files` must be plain files,
    /// or the copy would not be what the Dockerfile asks for.
    Tree { mode: u32, files: Vec<String> },
}

impl Default for BuildInput {
    fn default() -> Self {
        Self {
            target: None,
            args: BTreeMap::new(),
            platform: Platform::of_this_machine(),
        }
    }
}

impl BuildInput {
    /// Returns the variables of the platform, which a Dockerfile may use without giving them a value.
    fn variables(&self) -> [(&'static str, String); 9] {
        self.platform.variables(self.target.as_deref())
    }
}

impl Dockerfile {
    /// Reads and checks a file, with no target, no arguments, and this machine's platform.
    ///
    /// # Errors
    /// [`Refusals`] names every line that can't be built.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusals> {
        Self::read_for(bytes, BuildInput::default())
    }

    /// Reads and checks the stages of a file up to the target of `asked`.
    ///
    /// # Errors
    /// [`Refusals`] names every line that can't be built.
    pub fn read_for(bytes: &[u8], asked: BuildInput) -> Result<Self, Refusals> {
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

    /// Returns the notes on what is passed over.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the images that the file takes from the engine, each once, with the line that names it
    /// first.
    pub fn images(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut seen = std::collections::BTreeSet::new();
        let named = self.steps.iter().filter_map(|step| match &step.image {
            Some(Image::Named(name)) => Some((step.line, name.as_str())),
            Some(Image::Tree { .. }) | None => None,
        });
        named.filter(move |(_, image)| seen.insert(*image))
    }

    /// Returns the sources that are unpacked if they are archives: the line, and the paths or patterns in
    /// the source tree.
    pub fn unpacked(&self) -> impl Iterator<Item = (usize, &[String])> {
        let steps = self.steps.iter().filter(|step| !step.unpacked.is_empty());
        steps.map(|step| (step.line, step.unpacked.as_slice()))
    }

    /// Returns the copies from the source tree that ask for a mode other than the tree's own: the line, the
    /// mode, and the paths that must be plain files.
    pub fn modes(&self) -> impl Iterator<Item = (usize, u32, &[String])> {
        self.steps.iter().filter_map(|step| match &step.image {
            Some(Image::Tree { mode, files }) => Some((step.line, *mode, files.as_slice())),
            Some(Image::Named(_)) | None => None,
        })
    }
}
