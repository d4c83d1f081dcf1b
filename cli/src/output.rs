//! Tables for people, JSON for programs.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a value as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("can't write JSON: {error}")))?;
    line(&text)
}

/// Prints rows in aligned columns.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line(cells.join("   ").trim_end())?;
    }
    Ok(())
}

/// Prints one line. A reader that has gone away (`| head`) ends the command quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let text = clean(text, std::io::stdout().is_terminal());
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("can't write: {error}"))),
    }
}

/// Tells a person something beside the result. Nobody there to read it is no failure.
pub(crate) fn note(text: &str) {
    let text = clean(text, std::io::stderr().is_terminal());
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text of a program, made safe for a terminal: control characters could move the cursor or
/// change the terminal's title. Files and pipes get it as it is.
fn clean(text: &str, terminal: bool) -> String {
    if !terminal {
        return text.to_string();
    }
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// At most `chars_max` characters of a text, with a mark where it goes on.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// How long ago, in one unit.
pub(crate) fn age(since_ms: u64) -> String {
    span(now_ms().saturating_sub(since_ms))
}

/// How long until then, in one unit.
pub(crate) fn until(at_ms: u64) -> String {
    span(at_ms.saturating_sub(now_ms()))
}

fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

fn span(length_ms: u64) -> String {
    let seconds = length_ms / 1_000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
