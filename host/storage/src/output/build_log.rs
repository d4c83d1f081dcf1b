//! The log of one build: a bounded file, and its last lines in memory.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::Path,
};

use anstream::adapter::strip_str;
use hersh_program::Logs;

use super::logs::{CAUSE_LINES, LINE_BYTES, for_cause};

/// The most bytes that one build log keeps. Of a longer log, the start and the last lines are kept.
pub const BUILD_LOG_BYTES: usize = 4 * 1024 * 1024;

/// Writes the output of a builder, line by line. Each write blocks on the disk, but lines are small and
/// few, so an async task may use this.
pub struct BuildLog {
    file: File,
    written: usize,
    dropped: usize,
    lines: PlainLines,
    tail: VecDeque<String>,
}

impl BuildLog {
    /// Makes a new file at `path`. Removes an old one first and does not empty it, so that a reader of the
    /// old log can tell that a new log began.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self {
            file: File::create_new(path)?,
            written: 0,
            dropped: 0,
            lines: PlainLines::default(),
            tail: VecDeque::with_capacity(CAUSE_LINES),
        })
    }

    /// Writes text with any number of line ends.
    ///
    /// # Errors
    /// What the file system said.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        let lines = self.complete(text);
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Returns the lines that end in this text, as plain text, and writes nothing. The start of a line
    /// without an end is kept for the next text.
    pub fn complete(&mut self, text: &str) -> Vec<String> {
        self.lines.take(text)
    }

    /// Returns the last lines, oldest first.
    #[must_use]
    pub fn tail(&self) -> Logs {
        let partial = Some(plain(&self.lines.line)).filter(|partial| !partial.is_empty());
        for_cause(self.tail.iter().chain(partial.as_ref()))
    }

    /// Ends an unfinished line, and adds the last lines if lines were left out.
    ///
    /// # Errors
    /// What the file system said.
    pub fn finish(mut self) -> io::Result<()> {
        let last = self.lines.last();
        self.line(last)?;
        if self.dropped > 0 {
            let kept = self.tail.len().min(self.dropped);
            let left_out = self.dropped - kept;
            writeln!(
                self.file,
                "[{left_out} lines left out: the log is too long]"
            )?;
            for line in self.tail.iter().skip(self.tail.len() - kept) {
                writeln!(self.file, "{line}")?;
            }
        }
        self.file.flush()
    }

    fn line(&mut self, line: String) -> io::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        // This part of the file leaves space for the last lines, which `finish` adds.
        if self.dropped == 0
            && self.written + line.len() < BUILD_LOG_BYTES - CAUSE_LINES * LINE_BYTES
        {
            self.written += line.len() + 1;
            writeln!(self.file, "{line}")?;
        } else {
            self.dropped += 1;
        }
        if self.tail.len() == CAUSE_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
        Ok(())
    }
}

/// Splits text into lines as a terminal would show them at the end: without colours and other terminal
/// commands; of a line that was overwritten, only the last state. A line has at most [`LINE_BYTES`].
#[derive(Default)]
struct PlainLines {
    /// The unfinished line, as it came.
    line: String,
    /// Whether the next text overwrites the line.
    returned: bool,
}

impl PlainLines {
    fn take(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for part in text.split_inclusive(['\n', '\r']) {
            let shown = part.trim_end_matches(['\n', '\r']);
            if !shown.is_empty() {
                if std::mem::take(&mut self.returned) {
                    self.line.clear();
                }
                let free_bytes = LINE_BYTES.saturating_sub(self.line.len());
                self.line
                    .push_str(&shown[..shown.floor_char_boundary(free_bytes)]);
            }
            if part.ends_with('\r') {
                self.returned = true;
            } else if part.ends_with('\n') {
                lines.push(self.last());
            }
        }
        lines
    }

    /// Ends the unfinished line and returns it as plain text.
    fn last(&mut self) -> String {
        self.returned = false;
        plain(&std::mem::take(&mut self.line))
    }
}

fn plain(line: &str) -> String {
    let text = strip_str(line).to_string();
    let is_shown = |it: &char| !it.is_control() || *it == '\t';
    let lines: String = text.chars().filter(is_shown).collect();
    let shown = lines.split('\t').map(hersh_wire::shown);
    shown.collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_a_terminal_shows_them_at_the_end() {
        for (pieces, expected) in [
            (
                &["\u{1b}[32mINFO\u{1b}[0m started\n"][..],
                &["INFO started"][..],
            ),
            (&["\u{1b}[3", "2mINFO\u{1b}", "[0m\n"], &["INFO"]),
            (
                &["\u{1b}]8;;http://h\u{7}link\u{1b}]8;;\u{1b}\\ end\n"],
                &["link end"],
            ),
            (&["10%\r50%\r", "100%\r\n", "a\n"], &["100%", "a"]),
            (&["10%\r", "\u{1b}[K", "20%", "\n"], &["20%"]),
            (&["kept\r", "\n", "b\r\n"], &["kept", "b"]),
            (
                &["a\tb ✓\u{8}\u{9b}\u{7f}\n", "\n", "open"],
                &["a\tb ✓", ""],
            ),
        ] {
            let mut lines = PlainLines::default();
            let taken: Vec<String> = pieces.iter().flat_map(|it| lines.take(it)).collect();
            assert_eq!(taken, expected, "{pieces:?}");
        }
        let mut lines = PlainLines::default();
        for _ in 0..1_000 {
            assert!(lines.take(&"x".repeat(1_000)).is_empty());
        }
        assert_eq!(lines.line.len(), LINE_BYTES);
    }
}
