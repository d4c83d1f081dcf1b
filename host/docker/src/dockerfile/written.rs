//! What the engine is given, and which line of the file each of its steps stands for.

use std::collections::BTreeMap;

use super::{Base, Dockerfile, Image, Refused, expansion::Expansion, lines, report::refused};

/// A text for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToBuild {
    /// One instruction a line.
    pub text: String,
    /// What each instruction stands for; `None` for one of the host's own.
    pub steps: Vec<Option<Shown>>,
    /// Lines of the text before the first instruction.
    pub head: usize,
}

/// An instruction of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// As people wrote it, on one line.
    pub text: String,
}

impl ToBuild {
    /// The line of the file that a line of the text stands for, both from 1.
    #[must_use]
    pub fn line(&self, of_text: usize) -> Option<usize> {
        let step = of_text.checked_sub(self.head + 1)?;
        self.steps.get(step)?.as_ref().map(|shown| shown.line)
    }

    /// Whether a step, counted from 0, begins a stage.
    #[must_use]
    pub fn begins_stage(&self, step: usize) -> bool {
        let instruction = self.text.lines().nth(self.head + step);
        instruction.is_some_and(|it| it.starts_with("FROM "))
    }

    fn push(&mut self, instruction: &str, stands_for: Option<Shown>) {
        self.text.push_str(instruction);
        self.text.push('\n');
        self.steps.push(stands_for);
    }
}

impl Dockerfile {
    /// What the engine is to build: `bases` holds every image of [`images`](Self::images), `trees`
    /// the image with the tree for every mode of [`modes`](Self::modes), and the layers of every
    /// stage carry `labels`, by name and value.
    ///
    /// # Errors
    /// [`Refused`] for an image that is not in there, and for a line that becomes too long with the
    /// variables of the images.
    pub fn to_build(
        &self,
        bases: &BTreeMap<String, Base>,
        trees: &BTreeMap<u32, String>,
        labels: &[(&str, &str)],
    ) -> Result<ToBuild, Refused> {
        let mut built = ToBuild {
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
            let shown = Shown {
                line: step.line,
                text: step.shown.clone(),
            };
            built.push(&format!("{} {arguments}", step.keyword), Some(shown));
            // Set anew after each label of the file's own, which could say something else.
            if matches!(step.keyword.as_str(), "FROM" | "LABEL") {
                built.push(&format!("LABEL{labels}"), None);
            }
        }
        Ok(built)
    }

    /// Variables of the platform that an `ARG` before the first stage relies on, declared: engines
    /// know none of them.
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
