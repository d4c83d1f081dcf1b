//! Reads the names of images and stages.

use std::collections::BTreeMap;

use super::BuildInput;

/// The most that a value in an image's name may hold, bytes.
const VALUE_BYTES_MAX: usize = 4 * 1024;

/// The `ARG`s before the first `FROM`, which `FROM` may use.
pub(super) struct Arguments {
    /// The values of the arguments by name. The platform's arguments need no declaration.
    declared: BTreeMap<String, String>,
    /// The values that the build gives in place of the file's defaults.
    given: BTreeMap<String, String>,
    predefined: BTreeMap<&'static str, String>,
}

/// The stages so far, by their names.
#[derive(Default)]
pub(super) struct Stages(Vec<Option<String>>);

impl Arguments {
    pub(super) fn new(asked: &BuildInput) -> Self {
        let variables = asked.variables();
        let declared = variables.iter();
        let declared = declared.map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self {
            declared: declared.collect(),
            given: asked.args.clone(),
            predefined: variables.into_iter().collect(),
        }
    }

    /// Returns the value of `name` where it is declared without one: `None` if it is no variable of the
    /// platform, or if the build gives another value.
    pub(super) fn predefined(&self, name: &str) -> Option<&str> {
        let value = self.predefined.get(name)?;
        (!self.given.contains_key(name)).then_some(value)
    }

    /// Takes in the words of an `ARG`. An argument whose value can't be read gets no value.
    pub(super) fn declare(&mut self, words: &str) {
        for word in words.split_whitespace() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            if let Some(given) = self.given.get(name) {
                self.declared.insert(name.to_owned(), given.clone());
                continue;
            }
            let Some(value) = value else {
                continue;
            };
            let bare = ['"', '\''].into_iter().find_map(|quote| {
                let inside = value.strip_prefix(quote)?;
                inside.strip_suffix(quote)
            });
            if let Ok(value) = self.expand(bare.unwrap_or(value)) {
                self.declared.insert(name.to_owned(), value);
            }
        }
    }

    /// Replaces `$NAME`, `${NAME}` and `${NAME:-otherwise}` by values.
    ///
    /// # Errors
    /// The reason of a refusal, if a part of the word can't be read.
    pub(super) fn expand(&self, word: &str) -> Result<String, String> {
        let (mut text, mut rest) = (String::new(), word);
        while let Some((before, behind)) = rest.split_once('$') {
            text.push_str(before);
            let name_length = |text: &str| {
                let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
                text.find(|it| !is_name(it)).unwrap_or(text.len())
            };
            let (name, otherwise, after) = match behind.strip_prefix('{') {
                Some(braced) => {
                    let closed = braced.split_once('}');
                    let (inside, after) = closed.ok_or_else(|| unreadable(word))?;
                    let (name, otherwise) = inside
                        .split_once(":-")
                        .map_or((inside, None), |(name, text)| (name, Some(text)));
                    if name_length(name) < name.len() {
                        return Err(unreadable(word));
                    }
                    (name, otherwise, after)
                }
                None => {
                    let (name, after) = behind.split_at(name_length(behind));
                    (name, None, after)
                }
            };
            let value = self.declared.get(name).map(String::as_str);
            let value = value
                .filter(|it| !it.is_empty() || otherwise.is_none())
                .or(otherwise);
            text.push_str(value.ok_or_else(|| {
                format!("{word} needs a value: write ARG {name}=... before the first FROM")
            })?);
            rest = after;
        }
        text.push_str(rest);
        if text.len() > VALUE_BYTES_MAX {
            return Err(format!("{word} becomes longer than 4 KiB"));
        }
        if text.contains(['$', '\'', '"', '\\', '`']) {
            return Err(unreadable(word));
        }
        Ok(text)
    }
}

impl Stages {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins the next stage.
    ///
    /// # Errors
    /// The reason of a refusal, if the name can't be the name of a stage.
    pub(super) fn begin(&mut self, name: Option<&str>) -> Result<(), String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if let Some(name) = name
            && !(name.starts_with(|it: char| it.is_ascii_alphabetic())
                && name.bytes().all(is_plain))
        {
            return Err(format!("{name:?} is no name for a stage"));
        }
        if let Some(name) = name.filter(|name| self.has_name(name)) {
            return Err(format!("there are two stages named {name}"));
        }
        self.0.push(name.map(str::to_ascii_lowercase));
        Ok(())
    }

    /// Returns whether a stage so far has that name. The stage that is being built counts, too.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        self.0.iter().flatten().any(|known| *known == lower)
    }

    /// Returns whether `source` is the name or the number of a stage before the one that is being built. An
    /// engine takes any other `source` for the name or the id of an image.
    pub(super) fn is_finished(&self, source: &str) -> bool {
        let Some((_building, finished)) = self.0.split_last() else {
            return false;
        };
        let lower = source.to_ascii_lowercase();
        let has_name = finished.iter().flatten().any(|known| *known == lower);
        let number = source.parse::<usize>().ok().filter(|_| is_number(source));
        has_name || number.is_some_and(|number| number < finished.len())
    }
}

/// Checks that an image of that name may be taken from the engine. The name of a program's image, and a
/// name that could be the id of one, are refused.
///
/// # Errors
/// The reason of a refusal.
pub(super) fn base_image(name: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    let starts = name.starts_with(|it: char| it.is_ascii_alphanumeric());
    if !starts || !name.bytes().all(is_plain) || name.len() > 512 {
        return Err(format!("{name:?} is no name of an image"));
    }
    let lower = name.to_ascii_lowercase();
    let path = ["docker.io/", "index.docker.io/"]
        .into_iter()
        .find_map(|registry| lower.strip_prefix(registry))
        .unwrap_or(&lower);
    if path.starts_with("hersh/") {
        return Err(format!("{name} is the image of a program; name another"));
    }
    if lower.starts_with("sha256:") || lower.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(format!(
            "{name} could be the id of an image; name one with its tag, such as {name}:latest"
        ));
    }
    Ok(())
}

/// Returns whether engines take `name` for the number of a stage.
pub(super) fn is_number(name: &str) -> bool {
    name.bytes().all(|it| it.is_ascii_digit())
}

fn unreadable(word: &str) -> String {
    format!("{word} can't be read; write it out, or use ARG with a plain value")
}
