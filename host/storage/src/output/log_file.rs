//! A bounded file of log lines. All calls block.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::logs::{LogLine, Stream, is_mark};

/// The most bytes that one tail reads, however many lines are asked for.
pub(super) const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A log that is appended to one file, which is rotated to a second one, so that both together stay within
/// a limit.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl LogFile {
    /// A log at `path`. The file is made or opened only for the first line.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Appends lines. Removes the oldest lines when both files together would pass `limit_bytes`. Lines that
    /// fit into one file are written at once.
    pub(super) fn append(&mut self, lines: &[LogLine], limit_bytes: u64) -> io::Result<()> {
        let mut batch = String::new();
        for line in lines {
            let begins = batch.len();
            line.encode(&mut batch);
            let (_, size) = self.opened()?;
            let filled = size.saturating_add(length(&batch[..begins]));
            let is_full = filled.saturating_add(length(&batch[begins..])) > limit_bytes / 2;
            if is_full && filled > 0 {
                let next = batch.split_off(begins);
                self.write(&batch)?;
                batch = next;
                self.open = None;
                fs::rename(&self.path, rotated(&self.path))?;
            }
        }
        self.write(&batch)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let (file, size) = self.opened()?;
        if let Err(error) = file.write_all(text.as_bytes()) {
            // The next write opens the file again and sees how much of the text was written.
            self.open = None;
            return Err(error);
        }
        *size = size.saturating_add(length(text));
        Ok(())
    }

    /// Returns the log as it is at this moment. It can be read while more lines are appended.
    pub(super) fn kept(&self) -> io::Result<LogSnapshot> {
        LogSnapshot::at(&self.path)
    }

    /// Returns whether the file is open: false if nothing was appended yet, or the last attempt failed.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn opened(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .read(true)
                .open(&self.path)?;
            let mut size = file.seek(SeekFrom::End(0))?;
            if size > 0 && !ends_a_line(&mut file)? {
                file.write_all(b"\n")?;
                size += 1;
            }
            self.open = Some((file, size));
        }
        self.open
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The bytes of a log as they were at one moment. The files are open, so a rotation, which renames them,
/// does not change what is read.
pub(super) struct LogSnapshot {
    newer: Option<(File, u64)>,
    older: Option<(File, u64)>,
}

impl LogSnapshot {
    /// Opens the log at `path` as it is at this moment. A file that is not there holds nothing. The caller
    /// must keep others from appending meanwhile: lines that rotate between the two files could be read
    /// twice or not at all.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            newer: opened(path)?,
            older: opened(&rotated(path))?,
        })
    }

    /// Returns the last `count` readable lines, oldest first; fewer if those would take more than
    /// [`TAIL_BYTES_MAX`].
    pub(super) fn tail(self, count: usize, marks: Marks) -> io::Result<Vec<LogLine>> {
        let mut bytes_left = TAIL_BYTES_MAX;
        let mut lines = tail_of(self.newer, count, marks, &mut bytes_left)?;
        if lines.len() < count {
            let left = count - lines.len();
            let mut older = tail_of(self.older, left, marks, &mut bytes_left)?;
            older.append(&mut lines);
            lines = older;
        }
        Ok(lines)
    }
}

/// Whether marks of instances are wanted among the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Marks are returned, and count as lines.
    Shown,
    /// Marks are left out.
    Hidden,
}

impl Marks {
    /// Returns whether a stored line is wanted, without decoding it.
    fn takes(self, line: &[u8]) -> bool {
        match self {
            Self::Shown => true,
            Self::Hidden => !is_mark(line),
        }
    }

    /// Returns whether a line is wanted.
    pub(super) fn take(self, line: &LogLine) -> bool {
        match self {
            Self::Shown => true,
            Self::Hidden => line.stream != Stream::Mark,
        }
    }
}

fn opened(path: &Path) -> io::Result<Option<(File, u64)>> {
    match File::open(path) {
        Ok(file) => {
            let length = file.metadata()?.len();
            Ok(Some((file, length)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the last `count` readable lines of one file. Reads backwards in blocks, so that a short tail of
/// a long file is cheap.
fn tail_of(
    file: Option<(File, u64)>,
    count: usize,
    marks: Marks,
    bytes_left: &mut u64,
) -> io::Result<Vec<LogLine>> {
    const BLOCK: u64 = 64 * 1024;
    let Some((mut file, mut start)) = file else {
        return Ok(Vec::new());
    };
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut line_ends = 0;
    // Reads one line more than asked for, because the first line may lack its start, and one more for each
    // border between blocks, because a line that is cut there may not be recognized as a mark.
    while start > 0 && line_ends <= count + blocks.len() && *bytes_left > 0 {
        let length = BLOCK.min(start).min(*bytes_left);
        start -= length;
        *bytes_left -= length;
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        (&mut file).take(length).read_to_end(&mut block)?;
        line_ends += block
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"\n") && marks.takes(line))
            .count();
        blocks.push(block);
    }
    blocks.reverse();
    let bytes = blocks.concat();
    let lines = bytes.split(|byte| *byte == b'\n');
    let whole = lines.skip(usize::from(start > 0));
    let whole = whole.filter(|line| marks.takes(line));
    let mut lines: Vec<LogLine> = whole.filter_map(LogLine::decode).collect();
    lines.drain(..lines.len().saturating_sub(count));
    Ok(lines)
}
