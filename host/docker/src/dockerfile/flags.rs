//! Reads the options in front of an instruction's arguments, and the words of the arguments.

use super::{DockerfileRefusal, lines::Line, report::refused};

/// Options by name and value.
pub(super) type Flags<'a> = Vec<(&'a str, &'a str)>;

/// Returns the options in front, by name and value, and the text that follows them. Engines remove quotes
/// and escape characters from options, so an option with such characters is refused.
pub(super) fn flags(line: &Line) -> Result<(Flags<'_>, &str), DockerfileRefusal> {
    let mut found = Vec::new();
    let mut rest = line.arguments.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let may_expand = |b: u8| name != "from" && b"${}".contains(&b);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+,=*".contains(&b);
        if !is_name || !value.bytes().all(|b| is_plain(b) || may_expand(b)) {
            let reason = format!("the option --{flag} can't be read; write it without quotes");
            return Err(refused(line.number, reason));
        }
        found.push((name, value));
        rest = behind.trim_start();
    }
    Ok((found, rest))
}

/// Writes options in the form in which they stand in front of other arguments.
pub(super) fn written<'a>(flags: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let options = flags.into_iter();
    options
        .map(|(name, value)| format!("--{name}={value} "))
        .collect()
}

/// Returns the words of a line, and whether they are a list in JSON. An engine takes a list that it can't
/// read for plain words, and engines differ in what they can read. So a list has to be valid, or the line
/// is refused.
pub(super) fn words(line: &Line, rest: &str) -> Result<(Vec<String>, bool), DockerfileRefusal> {
    if !rest.starts_with('[') {
        let words = rest.split_whitespace().map(str::to_owned).collect();
        return Ok((words, false));
    }
    let list: Vec<String> = serde_json::from_str(rest).map_err(|error| {
        let reason = format!("the list of words is no JSON ({error}); write [\"from\", \"to\"]");
        refused(line.number, reason)
    })?;
    if list.iter().any(|word| word.contains(char::is_control)) {
        return Err(refused(line.number, "the list holds a control character"));
    }
    Ok((list, true))
}

/// Returns the refusal of an option that the instruction does not have.
pub(super) fn unknown_flag(line: &Line, name: &str) -> DockerfileRefusal {
    let reason = format!("{} takes no option --{name} here", line.keyword);
    refused(line.number, reason)
}
