//! Tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::adapter::strip_str;
use serde::Serialize;

use crate::{args::Output, failure::Failure};

/// Whether a whole JSON value was printed. A program that reads one value must not get a second one.
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Prints a value as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    ANSWERED.store(true, Ordering::Relaxed);
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("can't write JSON: {error}")))?;
    line(&text)
}

/// Reports how a command failed: to people on the standard error; to programs as one line with an object,
/// where the result would have been.
pub(crate) fn failure(failure: &Failure, format: Output) {
    note(&format!("hersh: {failure}"));
    object(failure, format);
}

/// Reports the failure to programs only.
pub(crate) fn object(failure: &Failure, format: Output) {
    match format {
        Output::Json if !ANSWERED.load(Ordering::Relaxed) => {
            // If the output is gone, the reader learns of the failure from the exit code.
            let _ = line(&failure.to_json().to_string());
        }
        Output::Json | Output::Table => {}
    }
}

/// Returns a number with its noun: `1 core`, `2 cores`.
pub(crate) fn count<N: Display + PartialEq<N> + From<u8>>(number: N, thing: &str) -> String {
    counted(number, thing, &format!("{thing}s"))
}

/// Returns a number with its noun, whose plural is `things`: `1 process`, `2 processes`.
pub(crate) fn counted<N: Display + PartialEq<N> + From<u8>>(
    number: N,
    thing: &str,
    things: &str,
) -> String {
    let thing = if number == N::from(1) { thing } else { things };
    format!("{number} {thing}")
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

/// Prints one line. If the reader has gone away (`| head`), the command ends quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let text = clean(text, std::io::stdout().is_terminal());
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("can't write: {error}"))),
    }
}

/// Refuses to write binary data to a terminal; `instead` says how to save it.
pub(crate) fn refuse_terminal(what: &str, instead: &str) -> Result<(), Failure> {
    match std::io::stdout().is_terminal() {
        true => Err(Failure::Input(format!(
            "{what} is no text for a terminal: name a file, or write {instead}"
        ))),
        false => Ok(()),
    }
}

/// Shows a person a note beside the result. It is no failure if nobody can read the note.
pub(crate) fn note(text: &str) {
    let text = clean(text, std::io::stderr().is_terminal());
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Makes the text of a program safe for a terminal. Control characters could move the cursor or change the
/// terminal's title, and others turn the direction of writing; so they are written out. Whole commands to a
/// terminal are removed. Of a line that was overwritten after carriage returns, only the last state is shown.
/// Files and pipes get the text as it is.
fn clean(text: &str, terminal: bool) -> String {
    if !terminal {
        return text.to_string();
    }
    let plain = strip_str(text).to_string();
    let lines: Vec<&str> = plain.split('\n').map(last_state).collect();
    let shown = |c: char| match c.is_control() && c != '\t' {
        true => '\u{fffd}',
        false => c,
    };
    let shown = |line: &str| {
        let line: String = line.chars().map(shown).collect();
        let parts: Vec<String> = line.split('\t').map(hersh_wire::shown).collect();
        parts.join("\t")
    };
    let lines: Vec<String> = lines.into_iter().map(shown).collect();
    lines.join("\n")
}

/// Returns what a line shows in the end, when each carriage return began it anew.
fn last_state(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit_once('\r').map_or(line, |(_, last)| last)
}

/// Returns the part of a build's id that people need to tell builds apart.
pub(crate) fn short_build(id: &str) -> &str {
    const SHOWN: usize = "build-".len() + 12;
    id.get(..SHOWN).unwrap_or(id)
}

/// Returns at most `chars_max` characters of a text, with `…` if it was cut.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// Returns the time since then, in one unit.
pub(crate) fn age(since_ms: u64) -> String {
    span(now_ms().saturating_sub(since_ms))
}

/// Returns the time until then, in one unit.
pub(crate) fn until(at_ms: u64) -> String {
    span(at_ms.saturating_sub(now_ms()))
}

/// Returns a moment as a clock shows it, in UTC: `2026-11-29 15:54:15Z`.
pub(crate) fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1_000;
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, date) = calendar(day);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Returns the year, month and date of a day since 1970-01-01. It counts in years that begin in March, so
/// that the extra day of a leap year is the last of its year.
fn calendar(day: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let day = day + 719_468;
    let (era, of_era) = (day / ERA_DAYS, day % ERA_DAYS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, date)
}

/// Returns the time, milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!(count(1_u64, "core"), "1 core");
        assert_eq!(count(0.5_f64, "core"), "0.5 cores");
        assert_eq!(count(1.0_f64, "core"), "1 core");
        assert_eq!(count(0_u64, "program"), "0 programs");
        assert_eq!(counted(1_u32, "process", "processes"), "1 process");
        assert_eq!(counted(256_u32, "process", "processes"), "256 processes");
    }

    #[test]
    fn a_moment_is_shown_as_a_clock_does() {
        for (at_ms, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399_999, "2000-02-28 23:59:59Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (951_868_800_000, "2000-03-01 00:00:00Z"),
            (1_796_000_055_000, "2026-11-30 00:54:15Z"),
            (4_107_542_399_000, "2100-02-28 23:59:59Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(clock(at_ms), shown);
        }
    }
}

#[cfg(test)]
mod terminal_tests {
    use super::*;

    #[test]
    fn a_terminal_gets_plain_text_and_a_pipe_all_of_it() {
        for (text, expected) in [
            ("\u{1b}[32mINFO\u{1b}[0m started", "INFO started"),
            ("10%\r50%\r100%", "100%"),
            ("100%\r", "100%"),
            ("a\tb ✓\nc\rd\ne", "a\tb ✓\nd\ne"),
            ("\u{1b}]0;title\u{7}text\u{7}\u{8}", "text"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("\u{1b}[2J\u{1b}", ""),
            ("exe.\u{202e}gpj\n\u{2066}x", "exe.\\u{202e}gpj\n\\u{2066}x"),
        ] {
            assert_eq!(clean(text, true), expected, "{text:?}");
            assert_eq!(clean(text, false), text);
        }
    }
}
