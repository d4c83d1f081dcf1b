//! The log of one build: a bounded file, and its end in memory.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::Path,
};

use hersh_program::Logs;

use super::logs::{CAUSE_LINES, LINE_BYTES, for_cause};

/// The most that one build log keeps, bytes. Of a longer one the start and the last lines stay.
pub const BUILD_LOG_BYTES: usize = 4 * 1024 * 1024;

/// Writes what a builder says, line by line. Lines are small and few, so this may be used from an
/// async task.
pub struct BuildLog {
    file: File,
    written: usize,
    dropped: usize,
    partial: String,
    tail: VecDeque<String>,
}

impl BuildLog {
    /// Makes the file anew.
    ///
    /// # Errors
    /// What the file system said.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            written: 0,
            dropped: 0,
            partial: String::new(),
            tail: VecDeque::with_capacity(CAUSE_LINES),
        })
    }

    /// Takes text with any number of line ends.
    ///
    /// # Errors
    /// What the file system said.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        for piece in text.split_inclusive(['\n', '\r']) {
            let ends = piece.ends_with(['\n', '\r']);
            let room = LINE_BYTES.saturating_sub(self.partial.len());
            let piece = piece.trim_end_matches(['\n', '\r']);
            self.partial
                .push_str(&piece[..piece.floor_char_boundary(room)]);
            if ends {
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// The last lines, oldest first.
    #[must_use]
    pub fn tail(&self) -> Logs {
        let partial = Some(&self.partial).filter(|partial| !partial.is_empty());
        for_cause(self.tail.iter().chain(partial))
    }

    /// Ends an unfinished line and, when lines were left out, adds the last ones.
    ///
    /// # Errors
    /// What the file system said.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.partial.is_empty() {
            self.end_line()?;
        }
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

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.partial);
        if line.is_empty() {
            return Ok(());
        }
        // Room for the last lines stays free.
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
