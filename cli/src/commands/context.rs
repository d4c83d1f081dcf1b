//! `hersh vars --remove` and `--set`: the durable context of a program that does not run.
//!
//! ```text
//! copy of /state ─► context.json and its log ─► one key changed ─► put back, if the program still does not run
//! ```
//! The host does not know what programs keep in `/state`, and a program that fails at one of its own values
//! can't be asked to change it. So this client, which comes with the library, reads and writes the file
//! itself.

use std::{collections::BTreeMap, io::Read};

use hersh::{CONTEXT_FILES, ContextChange, ContextChangeError, change_context};
use hersh_wire::ProgramView;
use reqwest::Method;
use serde_json::{json, value::RawValue};

use crate::{args::Output, client::Client, failure::Failure, output};

/// The largest file of a context that is read, bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The file that a changed context is written to; it stands alone.
const FILE: &str = CONTEXT_FILES[0];

/// Reads `KEY=JSON`.
///
/// # Errors
/// [`Failure::Input`] says what is wrong with the text.
pub(crate) fn set(text: &str) -> Result<ContextChange, Failure> {
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
    Ok(ContextChange::Set(key.to_owned(), value.trim().to_owned()))
}

pub(crate) async fn change(
    client: &Client,
    program: &str,
    change: ContextChange,
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
    let new = changed(program, files(&copy)?, change.clone())?;
    let put = client
        .request(Method::PUT, &["programs", program, "state", "file"])
        .query(&[("path", FILE)])
        .body(new);
    client.send(put).await?;
    match (change, format) {
        (ContextChange::Remove(key), Output::Json) => output::json(&json!({ "removed": key })),
        (ContextChange::Set(key, value), Output::Json) => {
            output::json(&json!({ "set": { "key": key, "value": value } }))
        }
        (ContextChange::Remove(key), Output::Table) => output::line(&format!(
            "{key} is removed; 'hersh start {program}' goes on without it"
        )),
        (ContextChange::Set(key, value), Output::Table) => {
            output::line(&format!("{key} is {value} from the next start on"))
        }
    }
}

/// Returns the files of the context from a copy of `/state`.
fn files(copy: &[u8]) -> Result<BTreeMap<&'static str, Vec<u8>>, Failure> {
    let failed = |error| Failure::Failed(format!("the copy of its /state can't be read: {error}"));
    let mut archive = tar::Archive::new(copy);
    let mut files = BTreeMap::new();
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        let name = CONTEXT_FILES
            .into_iter()
            .find(|name| path.as_os_str() == *name);
        let (Some(name), true) = (name, entry.header().entry_type().is_file()) else {
            continue;
        };
        if entry.size() > FILE_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "{name} in its /state has {} bytes, at most {FILE_BYTES_MAX} are read; it is left as it is",
                entry.size()
            )));
        }
        let mut bytes = Vec::new();
        let mut limited = entry.take(FILE_BYTES_MAX);
        limited.read_to_end(&mut bytes).map_err(failed)?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// Returns the new content of the context's file. Every other value keeps its exact text.
fn changed(
    program: &str,
    mut files: BTreeMap<&'static str, Vec<u8>>,
    change: ContextChange,
) -> Result<Vec<u8>, Failure> {
    change_context(|name| files.remove(name), change).map_err(|error| match error {
        ContextChangeError::Missing => Failure::Failed(format!(
            "{program} keeps no context: there is no {FILE} in its /state, as the hersh library makes it"
        )),
        ContextChangeError::Unreadable { .. } => Failure::Failed(format!(
            "in its /state, {error}; it is left as it is"
        )),
        ContextChangeError::NoKey { key, keys } => Failure::Input(format!(
            "its context has no key {key}; it has: {}",
            output::cut(&keys, 300)
        )),
        ContextChangeError::Value { .. } => Failure::Input(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&'static str, &str)], change: ContextChange) -> Result<String, Failure> {
        let files = files
            .iter()
            .map(|(name, text)| (*name, text.as_bytes().to_vec()));
        let new = changed("p", files.collect(), change)?;
        Ok(String::from_utf8(new).unwrap())
    }

    #[test]
    fn one_key_changes_and_the_others_stay_to_the_letter() {
        let old = r#"{"version":1,"values":{"big":340282366920938463463374607431768211455,"n":5}}"#;
        let new = with(&[(FILE, old)], set(r#"n="five""#).unwrap()).unwrap();
        assert_eq!(new, old.replace(r#""n":5"#, r#""n":"five""#));
    }

    #[test]
    fn what_can_not_be_changed_is_told_and_left() {
        let old = r#"{"version":1,"values":{"big":1,"n":5}}"#;
        let remove = || ContextChange::Remove("m".to_owned());
        let missing = with(&[(FILE, old)], remove()).unwrap_err();
        assert!(missing.to_string().contains("it has: big, n"), "{missing}");
        let other = with(&[(FILE, r#"{"version":9,"values":{}}"#)], remove()).unwrap_err();
        assert!(other.to_string().contains("left as it is"), "{other}");
        let nothing = with(&[], remove()).unwrap_err();
        assert!(
            nothing.to_string().contains("keeps no context"),
            "{nothing}"
        );
        for wrong in ["n", "=5", "n=five", "n="] {
            assert_eq!(set(wrong).unwrap_err().exit_code(), 3, "{wrong}");
        }
    }

    #[test]
    fn its_files_are_found_at_the_top_only() {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in [
            ("a/context.json", "no"),
            ("context.json", "yes"),
            ("context.1.log", "log"),
            ("context.2.log", "no"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        let copy = archive.into_inner().unwrap();
        let expected = [
            ("context.1.log", b"log".to_vec()),
            ("context.json", b"yes".to_vec()),
        ];
        assert_eq!(files(&copy).unwrap(), expected.into());
        assert_eq!(files(&[0; 1_024]).unwrap(), BTreeMap::new());
    }
}
