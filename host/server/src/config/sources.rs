//! Where values come from: later sources win over earlier ones.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{ConfigError, KEYS, Key, Origin, file};

/// The settings file that is read when none is named; it may be missing.
pub const DEFAULT_FILE: &str = "/etc/hersh/host.toml";

/// Variables that begin with `HERSH_` and have a meaning for other programs than a host.
const OTHERS: [&str; 8] = [
    "HERSH_CA_FILE",
    "HERSH_CONFIG",
    "HERSH_HOST",
    "HERSH_JOURNAL_DIR",
    "HERSH_REPLAY",
    "HERSH_TOKEN",
    "HERSH_TOKEN_FILE",
    "HERSH_WATCHER_SOCKET",
];

/// All sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file. If this is `None`, [`DEFAULT_FILE`] is read if it is there.
    pub file: Option<PathBuf>,
    /// Environment variables. Those that do not begin with `HERSH_` are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags by [`Key::flag`], and their values.
    pub flags: Vec<(String, OsString)>,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The setting.
    pub key: Key,
    /// Its value, as it was written.
    pub text: String,
    /// The place where the value was written.
    pub origin: Origin,
}

/// The values that are in force, one for each of [`KEYS`], not parsed yet.
#[derive(Clone, Debug)]
pub struct EffectiveSettings {
    /// The values in the order of [`KEYS`].
    pub values: Vec<Value>,
    /// Variables that look like settings and are none: they may be misspelt.
    pub unknown_variables: Vec<String>,
}

impl EffectiveSettings {
    /// Reads file, environment and flags.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that can't be read or has unknown keys, and for a name or value that is not
    /// text.
    pub fn gather(sources: Sources) -> Result<Self, ConfigError> {
        let mut effective = Self::defaults();
        let (path, named) = match sources.file {
            Some(path) => (path, true),
            None => (PathBuf::from(DEFAULT_FILE), false),
        };
        effective.take_file(&path, named)?;
        for (variable, value) in sources.environment {
            effective.take_variable(&variable, value)?;
        }
        for (flag, value) in sources.flags {
            if let Some(key) = KEYS.iter().find(|key| key.flag() == flag) {
                effective.set(key.name, value, Origin::Flag(flag))?;
            }
        }
        effective.unknown_variables.sort();
        Ok(effective)
    }

    pub(super) fn defaults() -> Self {
        let values = KEYS.iter().map(|key| Value {
            key: *key,
            text: key.default.to_owned(),
            origin: Origin::Default,
        });
        Self {
            values: values.collect(),
            unknown_variables: Vec::new(),
        }
    }

    fn take_file(&mut self, path: &Path, named: bool) -> Result<(), ConfigError> {
        for entry in file::read(path, named)? {
            let origin = Origin::File {
                path: path.to_path_buf(),
                line: entry.line,
            };
            self.set(entry.key, entry.text.into(), origin)?;
        }
        Ok(())
    }

    /// Takes in one variable. A variable that is not a setting is reported, not refused: an environment comes
    /// from many hands, and some variables serve other parts of Hersh.
    fn take_variable(&mut self, variable: &OsString, value: OsString) -> Result<(), ConfigError> {
        let Some(name) = variable.to_str().filter(|name| name.starts_with("HERSH_")) else {
            return Ok(());
        };
        match KEYS.iter().find(|key| key.variable() == name) {
            Some(key) => self.set(key.name, value, Origin::Environment(name.to_owned())),
            None => {
                if !OTHERS.contains(&name) && !name.starts_with("HERSH_TEST_") {
                    self.unknown_variables.push(name.to_owned());
                }
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &str, value: OsString, origin: Origin) -> Result<(), ConfigError> {
        let Ok(text) = value.into_string() else {
            return Err(ConfigError::NotText(origin));
        };
        if let Some(value) = self.values.iter_mut().find(|value| value.key.name == name) {
            value.text = text;
            value.origin = origin;
        }
        Ok(())
    }
}
