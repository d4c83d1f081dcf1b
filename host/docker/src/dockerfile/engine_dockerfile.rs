//! The text that the engine is given, and the line of the file for which each of its steps stands.

use std::collections::BTreeMap;

use super::{
    Base, Dockerfile, DockerfileRefusal, Image, expansion::Expansion, lines, report::refused,
};

/// The text of a Dockerfile for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineDockerfile {
    /// The instructions, one on each line.
    pub text: String,
    /// The instruction of the file for each step; `None` for one of the host's own.
    pub steps: Vec<Option<InstructionText>>,
    /// How many lines of the text stand before the first instruction.
    pub head: usize,
}

/// An instruction of the file, as messages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionText {
    /// The line on which the instruction begins, from 1.
    pub line: usize,
    /// The instruction as its author wrote it, on one line.
    pub text: String,
}

impl EngineDockerfile {
    /// Returns the line of the file for which a line of the text stands, both counted from 1.
    #[must_use]
    pub fn line(&self, of_text: usize) -> Option<usize> {
        let step = of_text.checked_sub(self.head + 1)?;
        self.steps.get(step)?.as_ref().map(|shown| shown.line)
    }

    /// Returns whether a step, counted from 0, begins a stage.
    #[must_use]
    pub fn begins_stage(&self, step: usize) -> bool {
        let instruction = self.text.lines().nth(self.head + step);
        instruction.is_some_and(|it| it.starts_with("FROM "))
    }

    fn push(&mut self, instruction: &str, stands_for: Option<InstructionText>) {
        self.text.push_str(instruction);
        self.text.push('\n');
        self.steps.push(stands_for);
    }
}

impl Dockerfile {
    /// Returns the text that the engine is to build. `bases` holds every image of [`images`](Self::images),
    /// and `trees` the image with the tree for every mode of [`modes`](Self::modes). The layers of every
    /// stage carry `labels`, by name and value.
    ///
    /// # Errors
    /// [`DockerfileRefusal`] for an image that is not in `bases` or `trees`, and for a line that becomes too long
    /// with the variables of the images.
    pub fn to_build(
        &self,
        bases: &BTreeMap<String, Base>,
        trees: &BTreeMap<u32, String>,
        labels: &[(&str, &str)],
    ) -> Result<EngineDockerfile, DockerfileRefusal> {
        let mut built = EngineDockerfile {
            text: String::new(),
            steps: Vec::new(),
            head: 0,
        };
        if self.escape != lines::ESCAPE {
            built.text = format!("# escape={}\n", self.escape);
            built.head = 1;
        }
        let labels = labels
            .iter()
            .map(|(name, value)| format!(" {name}={value}"));
        let labels: String = labels.collect();
        let mut expansion = Expansion::new(self.escape, bases.values(), &self.asked);
        for declaration in self.declarations() {
            built.push(&declaration, None);
        }
        for step in &self.steps {
            let missing = |what: &str| refused(step.line, format!("{what} was not found"));
            let image = match &step.image {
                None => "",
                Some(Image::Named(name)) => match bases.get(name) {
                    Some(base) => &base.id,
                    None => return Err(missing(&format!("the image {name}"))),
                },
                Some(Image::Tree { mode, .. }) => match trees.get(mode) {
                    Some(id) => id,
                    None => return Err(missing(&format!("the tree with mode {mode:04o}"))),
                },
            };
            let arguments = format!("{}{image}{}", step.before, step.after);
            expansion.take(step.line, &step.keyword, &arguments)?;
            let shown = InstructionText {
                line: step.line,
                text: step.shown.clone(),
            };
            built.push(&format!("{} {arguments}", step.keyword), Some(shown));
            // The host's labels are set again after each label of the file, which could have changed them.
            if matches!(step.keyword.as_str(), "FROM" | "LABEL") {
                built.push(&format!("LABEL{labels}"), None);
            }
        }
        Ok(built)
    }

    /// Returns declarations of the platform's variables that an `ARG` before the first stage uses. Engines
    /// know none of these variables there.
    fn declarations(&self) -> Vec<String> {
        let early = self.steps.iter().take_while(|step| step.keyword == "ARG");
        let early: Vec<&str> = early.map(|step| step.before.as_str()).collect();
        let is_used = |name: &str| {
            early.iter().any(|text| {
                text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"))
            })
        };
        let variables = self.asked.variables().into_iter();
        variables
            .filter(|(name, _)| is_used(name))
            .map(|(name, value)| format!("ARG {name}={value}"))
            .collect()
    }
}
