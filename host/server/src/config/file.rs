//! Reads the settings file: TOML, every key known, every value with its line.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, KEYS, keys::suggestion};

/// The most bytes of a settings file. A file with every key and its explanation has about 3,000.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The setting's name.
    pub(super) key: &'static str,
    pub(super) text: String,
    /// The number of the line, from 1.
    pub(super) line: usize,
}

/// Reads the settings in the file at `path`. A file that is missing says nothing, unless it was `named`.
pub(super) fn read(path: &Path, named: bool) -> Result<Vec<Entry>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && !named => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    // Refused if everybody may write it: they would decide which engine a host that runs as root obeys.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(ConfigError::WritableByAll {
            path: path.to_path_buf(),
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_path_buf(),
            bytes_max: FILE_BYTES_MAX,
        });
    }
    Reader { path, text: &text }.entries()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn entries(&self) -> Result<Vec<Entry>, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| {
            self.syntax(error.span().unwrap_or_default(), error.message().trim())
        })?;
        let mut entries = Vec::new();
        self.walk("", document.get_ref(), &mut entries)?;
        Ok(entries)
    }

    /// Collects the keys of `table`, no deeper than the settings' names go.
    fn walk(
        &self,
        tables: &str,
        table: &DeTable<'_>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = format!("{tables}{}", key.get_ref());
            let prefix = format!("{name}.");
            if let DeValue::Table(inner) = value.get_ref()
                && KEYS.iter().any(|known| known.name.starts_with(&prefix))
            {
                self.walk(&prefix, inner, entries)?;
                continue;
            }
            let Some(known) = KEYS.iter().find(|known| known.name == name) else {
                return Err(ConfigError::UnknownKey {
                    path: self.path.to_path_buf(),
                    line: self.line(&key.span()),
                    suggestion: suggestion(&name).map(str::to_owned),
                    key: name,
                });
            };
            entries.push(Entry {
                key: known.name,
                text: self.text_of(&name, value.get_ref(), &value.span())?,
                line: self.line(&key.span()),
            });
        }
        Ok(())
    }

    fn text_of(
        &self,
        name: &str,
        value: &DeValue<'_>,
        span: &Range<usize>,
    ) -> Result<String, ConfigError> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                let message =
                    format!("{name} can't be used: write a text, a whole number, true or false");
                Err(self.syntax(span.clone(), &message))
            }
        }
    }

    fn syntax(&self, span: Range<usize>, message: &str) -> ConfigError {
        ConfigError::Syntax {
            path: self.path.to_path_buf(),
            line: self.line(&span),
            message: message.to_owned(),
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}
