//! The durable context of a watcher that does not run, changed from its files: for tools that people use when a
//! program fails at one of its own values.

use std::sync::Arc;

use super::files::{FILE, LOGS, UnreadableFile, read_files};
use super::{put, snapshot};

/// The files that hold what a watcher keeps, in its state folder. All but the first may be missing.
pub const CONTEXT_FILES: [&str; 3] = [FILE, LOGS[0], LOGS[1]];

/// A change of one key of a durable context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextChange {
    /// Removes the key.
    Remove(String),
    /// Sets the key to this JSON.
    Set(String, String),
}

/// Why a context was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextChangeError {
    /// There is no context.
    #[error("there is no {FILE}")]
    Missing,
    /// A file cannot be understood.
    #[error("{file} cannot be read: {problem}")]
    Unreadable {
        /// The name of the file.
        file: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The context has no such key.
    #[error("the context has no key {key}; it has: {keys}")]
    NoKey {
        /// The key.
        key: String,
        /// The keys that there are, with commas in between.
        keys: String,
    },
    /// The new value is no JSON.
    #[error("the value of {key} is no JSON: {problem}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// Returns the new content of the first of [`CONTEXT_FILES`], which stands alone: the others need not be there any
/// more. `file` gives the content of each, if there is such a file. All other values keep their exact text.
///
/// # Errors
/// [`ContextChangeError`]
pub fn change_context(
    file: impl FnMut(&'static str) -> Option<Vec<u8>>,
    change: ContextChange,
) -> Result<Vec<u8>, ContextChangeError> {
    let (file, problem) = match read_files(file, 0) {
        Ok(Some((mut kept, _))) => {
            let (key, json) = checked(&kept.values, change)?;
            put(&mut kept.values, key, json);
            match snapshot::encode(&kept, None) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => (FILE, error.to_string()),
            }
        }
        Ok(None) => return Err(ContextChangeError::Missing),
        Err(UnreadableFile { file, problem }) => (file, problem),
    };
    Err(ContextChangeError::Unreadable { file, problem })
}

fn checked(
    values: &super::Values,
    change: ContextChange,
) -> Result<super::ValueChange, ContextChangeError> {
    match change {
        ContextChange::Remove(key) if values.contains_key(key.as_str()) => Ok((key.into(), None)),
        ContextChange::Remove(key) => {
            let keys: Vec<&str> = values.keys().map(AsRef::as_ref).collect();
            let keys = keys.join(", ");
            Err(ContextChangeError::NoKey { key, keys })
        }
        ContextChange::Set(key, json) => {
            match serde_json::from_str::<&serde_json::value::RawValue>(&json) {
                Ok(json) => Ok((key.into(), Some(Arc::from(json.get())))),
                Err(error) => {
                    let problem = error.to_string();
                    Err(ContextChangeError::Value { key, problem })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Commit, StateDir};

    const OLD: &str =
        r#"{"version":1,"values":{"big":340282366920938463463374607431768211455,"n":5}}"#;

    fn changed(old: &str, change: ContextChange) -> Result<String, ContextChangeError> {
        let file = |name| (name == FILE).then(|| old.as_bytes().to_vec());
        change_context(file, change).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn set(key: &str, json: &str) -> ContextChange {
        ContextChange::Set(key.into(), json.into())
    }

    #[test]
    fn one_key_changes_and_the_others_stay_to_the_letter() {
        let removed = changed(OLD, ContextChange::Remove("n".into())).unwrap();
        let big = r#""big":340282366920938463463374607431768211455"#;
        assert_eq!(removed, format!(r#"{{"version":1,"values":{{{big}}}}}"#));
        let set = changed(OLD, set("n", "\"five\"")).unwrap();
        let expected = format!(r#"{{"version":1,"values":{{{big},"n":"five"}}}}"#);
        assert_eq!(set, expected);
    }

    #[test]
    fn open_effects_and_mail_stay() {
        let effect =
            r#"{"space":7,"effect":"a","input":{"p":0.10},"asked_at_ms":1,"progress":"waiting"}"#;
        let mail = r#"{"next":2,"waiting":{"1":{"content":"m","at_ms":1}}}"#;
        let rest = format!(
            r#""effects":{{"next":2,"settled":[],"open":{{"1":{effect}}}}},"mail":{mail}}}"#
        );
        let old = format!(r#"{{"version":3,"values":{{"n":5}},{rest}"#);
        let expected = format!(r#"{{"version":3,"values":{{"n":6}},{rest}"#);
        assert_eq!(changed(&old, set("n", "6")), Ok(expected));
    }

    #[test]
    fn commits_in_a_log_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, kept) = StateDir::open(folder.path(), 7).unwrap();
        let mut before = kept;
        for n in 1..=3 {
            let commit = Commit {
                values: vec![("n".into(), Some(n.to_string().into()))],
                ..Commit::default()
            };
            state.add(&[&commit], true, || before.clone()).unwrap();
            before.values.insert("n".into(), n.to_string().into());
        }
        drop(state);
        let file = |name| std::fs::read(folder.path().join(name)).ok();
        let new = change_context(file, set("m", "1")).unwrap();
        assert_eq!(new, br#"{"version":1,"values":{"m":1,"n":3}}"#);
        let without_log = |name| file(name).filter(|_| name == FILE);
        let told = change_context(without_log, set("m", "1")).unwrap_err();
        assert!(told.to_string().contains("context.0.log"), "{told}");
    }

    #[test]
    fn what_cannot_be_changed_is_told() {
        let told = changed(OLD, ContextChange::Remove("m".into())).unwrap_err();
        assert!(told.to_string().contains("it has: big, n"), "{told}");
        let told = changed(OLD, set("n", "five")).unwrap_err().to_string();
        assert!(told.contains("no JSON"), "{told}");
        assert!(changed(r#"{"version":9,"values":{}}"#, set("n", "1")).is_err());
        let missing = change_context(|_| None, set("n", "1"));
        assert_eq!(missing, Err(ContextChangeError::Missing));
    }
}
