//! Splits a Dockerfile into instructions: reads directives, drops comments, and joins continued lines.

use super::{
    DockerfileRefusal, INSTRUCTION_BYTES_MAX, INSTRUCTIONS_MAX, Step,
    here_documents::{self, HereDocument},
    report::{Report, refused},
};

/// The character that continues a line, unless a directive sets another.
pub(super) const ESCAPE: char = '\\';

/// The name of the builder that every engine brings along, whatever its version.
const USUAL_BUILDER: &str = "docker/dockerfile";

/// One instruction on one line.
pub(super) struct Line {
    pub(super) number: usize,
    /// The keyword, in capitals.
    pub(super) keyword: String,
    pub(super) arguments: String,
}

/// Returns the step that passes a line on as it is.
pub(super) fn as_is(line: &Line) -> Step {
    Step {
        line: line.number,
        shown: format!("{} {}", line.keyword, line.arguments),
        keyword: line.keyword.clone(),
        before: line.arguments.clone(),
        image: None,
        after: String::new(),
        unpacked: Vec::new(),
    }
}

/// Returns the character that continues lines, and the instructions that can be read.
pub(super) fn read(text: &str, report: &mut Report) -> (char, Vec<Line>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut numbered = (1..).zip(text.lines());
    let escape = directives(numbered.clone(), report);
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    while let Some((number, line)) = numbered.next() {
        if report.is_full() {
            break;
        }
        if let Err(refused) = plain(number, line) {
            report.refuse(refused);
        }
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (begun, mut joined) = open.take().unwrap_or((number, String::new()));
        let (piece, goes_on) = continued(number, line, escape, report);
        if joined.len() + piece.len() > INSTRUCTION_BYTES_MAX {
            report.refuse(refused(begun, "the instruction is longer than 60 KiB"));
        } else {
            joined.push_str(piece);
        }
        if goes_on {
            open = Some((begun, joined));
            continue;
        }
        let line = instruction(begun, &joined, escape, report);
        for document in here_documents::begun(&line.keyword, &line.arguments) {
            report.refuse(refused(begun, document.reason()));
            numbered = behind(&document, numbered);
        }
        lines.push(line);
        if lines.len() > INSTRUCTIONS_MAX {
            report.refuse(refused(begun, "there are more than 1,000 instructions"));
            return (escape, lines);
        }
    }
    // A file may end in the middle of a continued line.
    if let Some((begun, joined)) = open {
        let line = instruction(begun, &joined, escape, report);
        for document in here_documents::begun(&line.keyword, &line.arguments) {
            report.refuse(refused(begun, document.reason()));
        }
        lines.push(line);
    }
    (escape, lines)
}

/// Returns the lines behind the end of a here-document, or all lines if it has no end. The file is refused
/// in any case: skipping the document only keeps its lines from being reported as unknown instructions.
fn behind<'a, I>(document: &HereDocument, lines: I) -> I
where
    I: Iterator<Item = (usize, &'a str)> + Clone,
{
    let mut rest = lines.clone();
    if rest.any(|(_, line)| document.ends_at(line)) {
        rest
    } else {
        lines
    }
}

/// Reads the directives, which are comments at the very top of the file. Returns the character that
/// continues lines.
fn directives<'a>(lines: impl Iterator<Item = (usize, &'a str)>, report: &mut Report) -> char {
    let mut escape = None;
    for (number, line) in lines {
        let Some((name, value)) = directive(line) else {
            break;
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("syntax", value) if is_usual(value) => report.note(
                number,
                "'# syntax=' is passed over: nothing is fetched for it",
            ),
            ("syntax", _) => {
                let reason = "'# syntax=' asks for a builder that runs outside; remove the line";
                report.refuse(refused(number, reason));
            }
            ("escape", "\\" | "`") if escape.is_none() => escape = value.chars().next(),
            ("escape", _) => {
                let reason = "'# escape=' can be a backslash or a backtick, once";
                report.refuse(refused(number, reason));
            }
            ("check", _) => {}
            _comment => break,
        }
    }
    escape.unwrap_or(ESCAPE)
}

/// Returns whether a `# syntax=` line names the builder whose language this module reads. The line never
/// reaches an engine, so it does not matter which version it names, or whether that version exists.
fn is_usual(syntax: &str) -> bool {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:@".contains(&b);
    name.strip_prefix(USUAL_BUILDER).is_some_and(|version| {
        let is_version = version.is_empty() || version.starts_with([':', '@']);
        is_version && version.bytes().all(is_plain)
    })
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

/// Checks that a line has no control characters except tabs. Engines differ in which of these characters
/// they take for the end of a line.
fn plain(number: usize, line: &str) -> Result<(), DockerfileRefusal> {
    let strange = line.chars().find(|it| it.is_control() && *it != '\t');
    match strange {
        None => Ok(()),
        Some(strange) => Err(refused(
            number,
            format!("the line holds the control character {strange:?}; remove it"),
        )),
    }
}

/// Returns the line without the character that continues it, and whether the line goes on.
fn continued<'a>(
    number: usize,
    line: &'a str,
    escape: char,
    report: &mut Report,
) -> (&'a str, bool) {
    let end = line.trim_end_matches([' ', '\t']);
    let Some(piece) = end.strip_suffix(escape) else {
        return (line, false);
    };
    if piece.ends_with(escape) {
        let reason = "the line ends with two escape characters, which engines read in different \
                      ways; put something behind them";
        report.refuse(refused(number, reason));
    }
    (piece, true)
}

fn instruction(number: usize, joined: &str, escape: char, report: &mut Report) -> Line {
    let joined = joined.trim();
    if joined.ends_with(escape) {
        let reason = "the instruction ends with an escape character; remove it";
        report.refuse(refused(number, reason));
    }
    let split = joined.split_once([' ', '\t']);
    let (keyword, arguments) = split.unwrap_or((joined, ""));
    Line {
        number,
        keyword: keyword.to_ascii_uppercase(),
        arguments: arguments.trim().to_owned(),
    }
}
