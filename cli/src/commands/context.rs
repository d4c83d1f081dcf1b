//! `hersh vars --remove` and `--set`: the durable context of a program that does not run.
//!
//! ```text
//! copy of /state ─► context.json ─► one key changed ─► put back, if the program still does not run
//! ```
//! The host does not know what programs keep in `/state`, and a program that fails at one of its own values
//! can't be asked to change it. So this client, which comes with the library, reads and writes the file
//! itself.

use std::{collections::BTreeMap, io::Read};

use hersh_wire::ProgramView;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{args::Output, client::Client, failure::Failure, output};

/// The path of the library's context file, below `/state`.
const FILE: &str = "context.json";
/// The versions of that file's format that this client knows: values alone, and with open effects beside them.
const VERSIONS: [u32; 2] = [1, 2];
/// The largest context file that is read, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The change to make in the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Removes the key.
    Remove(String),
    /// Sets the key to this value.
    Set(String, String),
}

impl Change {
    /// Reads `KEY=JSON`.
    ///
    /// # Errors
    /// [`Failure::Input`] says what is wrong with the text.
    pub(crate) fn set(text: &str) -> Result<Self, Failure> {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::Input(format!(
                "{text:?} is no KEY=JSON: write one such as count=5 or name='\"ann\"'"
            )));
        };
        if let Err(error) = serde_json::from_str::<&RawValue>(value) {
            return Err(Failure::Input(format!(
                "the value of {key} is no JSON ({error}); a text is written in double quotes: {key}='\"...\"'"
            )));
        }
        Ok(Self::Set(key.to_owned(), value.trim().to_owned()))
    }
}

#[derive(Deserialize, Serialize)]
struct Snapshot {
    version: u32,
    values: BTreeMap<String, Box<RawValue>>,
    /// The open effects, left as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effects: Option<Box<RawValue>>,
}

pub(crate) async fn change(
    client: &Client,
    program: &str,
    change: Change,
    format: Output,
) -> Result<(), Failure> {
    let view: ProgramView = client.get(&["programs", program]).await?;
    let rests = ["Created", "Stopped", "Error"].contains(&view.state.as_str());
    if !rests || view.retry.is_some() {
        return Err(Failure::Failed(format!(
            "{program} is {}: its context is changed only while nothing runs; 'hersh stop {program}' first",
            view.state
        )));
    }
    let copy = client.request(Method::POST, &["programs", program, "state", "copy"]);
    let copy = client.send(copy).await?.bytes().await.map_err(|error| {
        Failure::Unreachable(format!(
            "the host hung up in the middle of the copy: {error}"
        ))
    })?;
    let old = find(&copy)?.ok_or_else(|| {
        Failure::Failed(format!(
            "{program} keeps no context: there is no {FILE} in its /state, as the hersh library makes it"
        ))
    })?;
    let new = changed(&old, &change)?;
    let put = client
        .request(Method::PUT, &["programs", program, "state", "file"])
        .query(&[("path", FILE)])
        .body(new);
    client.send(put).await?;
    match (change, format) {
        (Change::Remove(key), Output::Json) => output::json(&json!({ "removed": key })),
        (Change::Set(key, value), Output::Json) => {
            output::json(&json!({ "set": { "key": key, "value": value } }))
        }
        (Change::Remove(key), Output::Table) => output::line(&format!(
            "{key} is removed; 'hersh start {program}' goes on without it"
        )),
        (Change::Set(key, value), Output::Table) => {
            output::line(&format!("{key} is {value} from the next start on"))
        }
    }
}

/// Returns the context file from a copy of `/state`.
fn find(copy: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error| Failure::Failed(format!("the copy of its /state can't be read: {error}"));
    let mut archive = tar::Archive::new(copy);
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_it = entry.path().map_err(failed)?.as_os_str() == FILE;
        if is_it && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            if entry.size() > FILE_BYTES_MAX {
                return Err(Failure::Failed(format!(
                    "{FILE} in its /state has {} bytes, at most {FILE_BYTES_MAX} are read; it is left as it is",
                    entry.size()
                )));
            }
            let mut limited = entry.take(FILE_BYTES_MAX);
            limited.read_to_end(&mut bytes).map_err(failed)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Returns the file's content with the change made. Every other value keeps its exact text.
fn changed(old: &[u8], change: &Change) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| {
        Failure::Failed(format!(
            "{FILE} in its /state can't be read: {error}; it is left as it is"
        ))
    };
    let mut snapshot: Snapshot = serde_json::from_slice(old).map_err(unreadable)?;
    if !VERSIONS.contains(&snapshot.version) {
        return Err(Failure::Failed(format!(
            "{FILE} in its /state has form {}, this client knows forms {VERSIONS:?}; it is left as it is",
            snapshot.version
        )));
    }
    match change {
        Change::Remove(key) => {
            if snapshot.values.remove(key).is_none() {
                let keys: Vec<&str> = snapshot.values.keys().map(String::as_str).collect();
                return Err(Failure::Input(format!(
                    "its context has no key {key}; it has: {}",
                    output::cut(&keys.join(", "), 300)
                )));
            }
        }
        Change::Set(key, value) => {
            let value = RawValue::from_string(value.clone()).map_err(unreadable)?;
            snapshot.values.insert(key.clone(), value);
        }
    }
    serde_json::to_vec(&snapshot).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] =
        br#"{"version":1,"values":{"big":340282366920938463463374607431768211455,"n":5}}"#;

    fn text(change: &Change) -> String {
        String::from_utf8(changed(OLD, change).unwrap()).unwrap()
    }

    #[test]
    fn one_key_changes_and_the_others_stay_to_the_letter() {
        let removed = text(&Change::Remove("n".to_owned()));
        let big = r#""big":340282366920938463463374607431768211455"#;
        assert_eq!(removed, format!(r#"{{"version":1,"values":{{{big}}}}}"#));
        let set = text(&Change::set(r#"n="five""#).unwrap());
        assert_eq!(
            set,
            format!(r#"{{"version":1,"values":{{{big},"n":"five"}}}}"#)
        );
    }

    #[test]
    fn open_effects_stay_to_the_letter() {
        let old = br#"{"version":2,"values":{"n":5},"effects":{"next":18446744073709551615}}"#;
        let set = changed(old, &Change::set("n=6").unwrap()).unwrap();
        let expected = br#"{"version":2,"values":{"n":6},"effects":{"next":18446744073709551615}}"#;
        assert_eq!(set, expected);
    }

    #[test]
    fn what_can_not_be_changed_is_told_and_left() {
        let missing = changed(OLD, &Change::Remove("m".to_owned())).unwrap_err();
        assert!(missing.to_string().contains("it has: big, n"), "{missing}");
        let other = br#"{"version":3,"values":{}}"#;
        assert!(changed(other, &Change::Remove("n".to_owned())).is_err());
        for wrong in ["n", "=5", "n=five", "n="] {
            assert_eq!(Change::set(wrong).unwrap_err().exit_code(), 3, "{wrong}");
        }
    }

    #[test]
    fn the_file_is_found_at_the_top_only() {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in [("a/context.json", "no"), ("context.json", "yes")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        let copy = archive.into_inner().unwrap();
        assert_eq!(find(&copy).unwrap().unwrap(), b"yes");
        assert_eq!(find(&[0; 1_024]).unwrap(), None);
    }
}
