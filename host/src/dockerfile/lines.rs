//! From text to instructions: directives, comments and continued lines.

use super::{INSTRUCTION_BYTES_MAX, INSTRUCTIONS_MAX, Refused};

/// What continues a line unless a directive says otherwise.
pub(super) const ESCAPE: char = '\\';

/// One instruction on one line.
pub(super) struct Line {
    pub(super) number: usize,
    /// In capitals.
    pub(super) keyword: String,
    pub(super) arguments: String,
}

/// The character that continues lines, and the instructions.
pub(super) fn read(text: &str) -> Result<(char, Vec<Line>), Refused> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = || (1..).zip(text.lines());
    let escape = directives(numbered())?;
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in numbered() {
        plain(number, line)?;
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (begun, mut joined) = open.take().unwrap_or_default();
        let begun = if begun == 0 { number } else { begun };
        let (piece, goes_on) = continued(number, line, escape)?;
        joined.push_str(piece);
        if joined.len() > INSTRUCTION_BYTES_MAX {
            return Err(refused(begun, "the instruction is longer than 60 KiB"));
        }
        if goes_on {
            open = Some((begun, joined));
        } else {
            lines.push(instruction(begun, &joined, escape)?);
        }
        if lines.len() > INSTRUCTIONS_MAX {
            return Err(refused(begun, "there are more than 1,000 instructions"));
        }
    }
    // A file may end in the middle of a line that goes on.
    if let Some((begun, joined)) = open {
        lines.push(instruction(begun, &joined, escape)?);
    }
    Ok((escape, lines))
}

/// Reads the comments at the very top that mean something; the character that continues lines.
fn directives<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<char, Refused> {
    let mut escape = None;
    for (number, line) in lines {
        let Some((name, value)) = directive(line) else {
            break;
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("syntax", _) => {
                let reason = "'# syntax=' asks for a builder that runs outside; remove the line";
                return Err(refused(number, reason));
            }
            ("escape", "\\" | "`") if escape.is_none() => escape = value.chars().next(),
            ("escape", _) => {
                let reason = "'# escape=' can be a backslash or a backtick, once";
                return Err(refused(number, reason));
            }
            ("check", _) => {}
            _comment => break,
        }
    }
    Ok(escape.unwrap_or(ESCAPE))
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

/// Engines differ in what else they take for the end of a line.
fn plain(number: usize, line: &str) -> Result<(), Refused> {
    let strange = line.chars().find(|it| it.is_control() && *it != '\t');
    match strange {
        None => Ok(()),
        Some(strange) => Err(refused(
            number,
            &format!("the line holds the control character {strange:?}; remove it"),
        )),
    }
}

/// The line without what continues it, and whether it goes on.
fn continued(number: usize, line: &str, escape: char) -> Result<(&str, bool), Refused> {
    let end = line.trim_end_matches([' ', '\t']);
    let Some(piece) = end.strip_suffix(escape) else {
        return Ok((line, false));
    };
    if piece.ends_with(escape) {
        let reason = "the line ends with two escape characters, which engines read in different \
                      ways; put something behind them";
        return Err(refused(number, reason));
    }
    Ok((piece, true))
}

fn instruction(number: usize, joined: &str, escape: char) -> Result<Line, Refused> {
    let joined = joined.trim();
    if joined.ends_with(escape) {
        let reason = "the instruction ends with an escape character; remove it";
        return Err(refused(number, reason));
    }
    let split = joined.split_once([' ', '\t']);
    let (keyword, arguments) = split.unwrap_or((joined, ""));
    Ok(Line {
        number,
        keyword: keyword.to_ascii_uppercase(),
        arguments: arguments.trim().to_owned(),
    })
}

pub(super) fn refused(line: usize, reason: &str) -> Refused {
    Refused {
        line,
        reason: reason.to_owned(),
    }
}
