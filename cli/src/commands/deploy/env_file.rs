//! `--env-file`: environment variables as Docker reads them, `NAME=value` on a line.

use std::{collections::BTreeMap, path::Path};

use crate::failure::Failure;

/// Adds the variables of a file to `env`; they replace variables of the same name. Values are taken as they
/// are written, with quotes and blanks. A name without a value takes it from the environment of this command;
/// without one there, the name is left out.
///
/// # Errors
/// [`Failure::Input`] names the file and the line, but never a value.
pub(super) fn add(
    env: &mut BTreeMap<String, String>,
    path: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    let refuse = |what: String| Failure::Input(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| refuse(format!("it can't be read: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), environment(line.trim_end())),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(refuse(format!(
                "line {number} is not NAME=value, with no blank in or behind NAME"
            )));
        }
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut env = BTreeMap::from([("A".to_owned(), "manifest".to_owned())]);
        let environment = |name: &str| (name == "SET").then(|| "here".to_owned());
        add(&mut env, file.path(), environment)
            .map(|()| env)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = "\u{feff}# comment\nA=1=2 # kept\r\n\n  B=\"quoted\"\nEMPTY=\nSET\nUNSET\n";
        let env = read(text).unwrap();
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            env,
            [
                ("A", "1=2 # kept"),
                ("B", "\"quoted\""),
                ("EMPTY", ""),
                ("SET", "here")
            ]
        );
    }

    #[test]
    fn a_line_that_is_none_is_named_without_its_value() {
        for text in ["A=1\n=s3cret\n", "A=1\nexport B=s3cret\n", "A=1\nB =s3cret"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("line 2 is not NAME=value"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
