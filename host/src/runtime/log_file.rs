//! A bounded file of log lines. All calls block.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::logs::LogLine;

/// Appends to one file and rotates it to a second one, so that both together stay below a limit.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl LogFile {
    /// A log at `path`; nothing is touched before the first line.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Appends lines; the oldest go when both files together would pass `limit_bytes`.
    pub(super) fn append(&mut self, lines: &[LogLine], limit_bytes: u64) -> io::Result<()> {
        for line in lines {
            let text = line.encode();
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let (_, size) = self.opened()?;
            if size.saturating_add(length) > limit_bytes / 2 && *size > 0 {
                self.open = None;
                fs::rename(&self.path, rotated(&self.path))?;
            }
            let (file, size) = self.opened()?;
            if let Err(error) = file.write_all(text.as_bytes()) {
                // The next try finds out how much of the line came through.
                self.open = None;
                return Err(error);
            }
            *size = size.saturating_add(length);
        }
        Ok(())
    }

    /// The last `count` lines, oldest first.
    pub(super) fn tail(&self, count: usize) -> io::Result<Vec<LogLine>> {
        let mut lines = tail_of(&self.path, count)?;
        if lines.len() < count {
            let mut older = tail_of(&rotated(&self.path), count - lines.len())?;
            older.append(&mut lines);
            lines = older;
        }
        Ok(lines)
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

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The last `count` readable lines of one file, read backwards in blocks, so that a short tail of
/// a long file is cheap. A file that is not there has none.
fn tail_of(path: &Path, count: usize) -> io::Result<Vec<LogLine>> {
    const BLOCK: u64 = 64 * 1024;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut start = file.seek(SeekFrom::End(0))?;
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let complete = bytes.iter().filter(|byte| **byte == b'\n').count();
        // One more than asked for: the first line of what was read may lack its start.
        if start == 0 || complete > count {
            break;
        }
        let length = BLOCK.min(start);
        start -= length;
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        (&mut file).take(length).read_to_end(&mut block)?;
        block.append(&mut bytes);
        bytes = block;
    }
    let mut lines: Vec<LogLine> = bytes
        .split(|byte| *byte == b'\n')
        .skip(usize::from(start > 0))
        .filter_map(LogLine::decode)
        .collect();
    lines.drain(..lines.len().saturating_sub(count));
    Ok(lines)
}
