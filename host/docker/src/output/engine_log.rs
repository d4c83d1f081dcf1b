//! Reads what a container prints from the engine's own log files.
//!
//! Over its API, an engine follows one file only. A reader that falls behind by more than one rotation
//! misses the lines between, or gets a file twice, and the engine reports neither. The files themselves
//! show in which order they follow each other:
//!
//! ```text
//! {id}-json.log.1 ─ renamed, no longer written ─► then {id}-json.log ─ grows
//! ```
//! An open file stays readable when it is renamed or removed. If `.log.1` is the file that was just read,
//! `.log` comes next. If it is another file, output may be lost between the two, and a gap is reported.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hersh_storage::output::{Stream, normal_time};
use serde::Deserialize;

/// How much is read at once, bytes.
const BLOCK_BYTES: u64 = 256 * 1024;
/// The longest line of the engine's file, bytes. The engine cuts what programs print at 16 KiB, and writes
/// one byte as up to six.
const ENTRY_BYTES: usize = 1024 * 1024;

/// The output of one container, as far as the engine still has it.
pub(super) struct EngineLogReader {
    path: PathBuf,
    open: OpenFile,
    /// The beginning of an entry whose end is not written yet.
    entry: Vec<u8>,
    /// The pieces that were read and not returned yet.
    waiting: Vec<Piece>,
    /// Whether the last read returned as much as one read may return.
    is_behind: bool,
}

struct OpenFile {
    file: File,
    inode: u64,
    /// Whether `path` names a newer file. This file is then read to its end once more, because it may have
    /// grown before the newer file appeared.
    is_rotated: bool,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EngineLogRead {
    /// More output.
    Pieces(Vec<Piece>),
    /// Output between the last piece and the next may be lost.
    Gap,
    /// There is no new output yet.
    Nothing,
}

/// The text that the engine wrote at once: a line with its end, or a part of a long line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: String,
    pub(super) stream: Stream,
    pub(super) text: String,
}

/// An entry of the engine's file.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl EngineLogReader {
    /// Opens the engine's copy at `path` at its oldest entry. Returns also whether older entries may be
    /// gone. `full_bytes` is the size from which on the engine rotates the file before it writes on.
    pub(super) fn open(path: PathBuf, full_bytes: u64) -> io::Result<(Self, bool)> {
        // The newest file is opened before the older one is looked for. The other way round, a first
        // rotation between the two would hide the only file there was until then.
        let newest = opened(&path)?;
        let (open, is_cut) = match (opened(&rotated(&path))?, newest) {
            (Some(older), _) => (older, true),
            // To rotate, the engine first removes the older file and then renames the newest one, so
            // between the two a late reader finds no older file either. Only then the newest one is full.
            (None, Some(newest)) => {
                let is_full = newest.file.metadata()?.len() >= full_bytes;
                (newest, is_full)
            }
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        let reader = Self {
            path,
            open,
            entry: Vec::new(),
            waiting: Vec::new(),
            is_behind: false,
        };
        Ok((reader, is_cut))
    }

    /// Returns the shortest pause before the next read: `usually`, so that several lines come together. After
    /// a read that returned as much as one read may return, there is no pause.
    pub(super) fn least_rest(&self, usually: Duration) -> Duration {
        if self.is_behind {
            Duration::ZERO
        } else {
            usually
        }
    }

    /// Reads at most [`BLOCK_BYTES`] more. Blocks.
    pub(super) fn next(&mut self) -> io::Result<EngineLogRead> {
        if !self.waiting.is_empty() {
            return Ok(EngineLogRead::Pieces(std::mem::take(&mut self.waiting)));
        }
        let mut block = Vec::new();
        loop {
            let open = &mut self.open;
            block.clear();
            let length = (&mut open.file).take(BLOCK_BYTES).read_to_end(&mut block)?;
            if length > 0 {
                self.is_behind = block.len() as u64 == BLOCK_BYTES;
                let pieces = self.take(&block);
                if pieces.is_empty() {
                    continue;
                }
                return Ok(EngineLogRead::Pieces(pieces));
            }
            if !open.is_rotated {
                match inode(&self.path)? {
                    Some(newest) if newest != open.inode => open.is_rotated = true,
                    // This file is still the newest, or the engine is renaming it now, or the file was
                    // removed with its container.
                    Some(_) | None => return Ok(EngineLogRead::Nothing),
                }
                continue;
            }
            // The newest file is opened before the older one is looked at: if that is still the file just
            // read, then the newest one came right after it. The other way round, a rotation between the
            // two would be passed over.
            let Some(newest) = opened(&self.path)? else {
                return Ok(EngineLogRead::Nothing);
            };
            let previous = open.inode;
            let older = opened(&rotated(&self.path))?;
            self.entry.clear();
            match older {
                Some(older) if older.inode == previous => self.open = newest,
                older => {
                    self.open = older.unwrap_or(newest);
                    return Ok(EngineLogRead::Gap);
                }
            }
        }
    }

    /// Returns the position of the reading, for a later [`seek_to`](Self::seek_to).
    pub(super) fn position(&mut self) -> io::Result<EngineLogPosition> {
        let open = &mut self.open;
        let waiting = u64::try_from(self.entry.len()).unwrap_or(u64::MAX);
        let at = open.file.stream_position()?.saturating_sub(waiting);
        let file = open.file.try_clone()?;
        Ok(EngineLogPosition {
            file,
            inode: open.inode,
            at,
        })
    }

    /// Moves the reading back to a position.
    pub(super) fn seek_to(&mut self, position: EngineLogPosition) -> io::Result<()> {
        let mut file = position.file;
        file.seek(SeekFrom::Start(position.at))?;
        self.entry.clear();
        self.waiting.clear();
        self.open = OpenFile {
            file,
            inode: position.inode,
            is_rotated: false,
        };
        Ok(())
    }

    /// Skips `count` pieces, or all that there are if there are fewer.
    pub(super) fn skip(&mut self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let EngineLogRead::Pieces(mut pieces) = self.next()? else {
                break;
            };
            let here = count.min(pieces.len());
            count -= here;
            self.waiting = pieces.split_off(here);
        }
        Ok(())
    }

    fn take(&mut self, block: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in block.split_inclusive(|byte| *byte == b'\n') {
            if self.entry.is_empty() && part.ends_with(b"\n") {
                pieces.extend(piece(part));
                continue;
            }
            if self.entry.len() < ENTRY_BYTES {
                self.entry.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                pieces.extend(piece(&self.entry));
                self.entry.clear();
            }
        }
        pieces
    }
}

/// A position in one of the engine's files. It stays valid when the file is renamed.
pub(super) struct EngineLogPosition {
    file: File,
    inode: u64,
    at: u64,
}

/// Reads an entry; `None` for an entry that a crash of the engine left incomplete.
fn piece(entry: &[u8]) -> Option<Piece> {
    let entry: Entry<'_> = serde_json::from_slice(entry).ok()?;
    Some(Piece {
        at: normal_time(&entry.time)?,
        stream: match entry.stream.as_ref() {
            "stderr" => Stream::Stderr,
            _stdout => Stream::Stdout,
        },
        text: entry.log.into_owned(),
    })
}

fn opened(path: &Path) -> io::Result<Option<OpenFile>> {
    match File::open(path) {
        Ok(file) => Ok(Some(OpenFile {
            inode: file.metadata()?.ino(),
            file,
            is_rotated: false,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Two entries fill a file.
    const FULL_BYTES: u64 = 100;

    /// An engine that writes and rotates its files.
    struct Engine {
        path: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Engine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c-json.log");
            File::create(&path).unwrap();
            Self {
                path,
                _folder: folder,
            }
        }

        fn print(&self, numbers: std::ops::Range<u32>) {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(&self.path)
                .unwrap();
            for number in numbers {
                let time = "2026-01-01T00:00:00.1Z";
                let entry = serde_json::json!({"log": format!("{number}\n"), "stream": "stdout", "time": time});
                writeln!(file, "{entry}").unwrap();
            }
        }

        fn rotate(&self) {
            fs::rename(&self.path, rotated(&self.path)).unwrap();
            File::create(&self.path).unwrap();
        }

        fn reader(&self) -> (EngineLogReader, bool) {
            EngineLogReader::open(self.path.clone(), FULL_BYTES).unwrap()
        }
    }

    /// Reads until there is no more output. Returns the numbers that were read, and -1 for each gap.
    fn drain(reader: &mut EngineLogReader) -> Vec<i64> {
        let mut seen = Vec::new();
        loop {
            match reader.next().unwrap() {
                EngineLogRead::Pieces(pieces) => {
                    seen.extend(
                        pieces
                            .iter()
                            .map(|it| it.text.trim().parse::<i64>().unwrap()),
                    );
                }
                EngineLogRead::Gap => seen.push(-1),
                EngineLogRead::Nothing => return seen,
            }
        }
    }

    #[test]
    fn a_rotation_loses_and_doubles_nothing() {
        let engine = Engine::new();
        let (mut reader, is_cut) = engine.reader();
        assert!(!is_cut);
        engine.print(0..3);
        assert_eq!(drain(&mut reader), [0, 1, 2]);
        engine.print(3..5);
        engine.rotate();
        engine.print(5..6);
        assert_eq!(drain(&mut reader), [3, 4, 5]);
        assert!(drain(&mut reader).is_empty());
        engine.rotate();
        assert!(drain(&mut reader).is_empty());
        engine.print(6..8);
        assert_eq!(drain(&mut reader), [6, 7]);
    }

    #[test]
    fn what_is_rotated_away_unread_is_a_gap() {
        let engine = Engine::new();
        let (mut reader, _) = engine.reader();
        engine.print(0..2);
        assert_eq!(drain(&mut reader), [0, 1]);
        engine.print(2..3);
        engine.rotate();
        engine.print(3..4);
        engine.rotate();
        engine.print(4..5);
        engine.rotate();
        engine.print(5..6);
        // The open file stays readable. What was written and removed since then is gone.
        assert_eq!(drain(&mut reader), [2, -1, 4, 5]);
    }

    #[test]
    fn a_late_reader_begins_with_the_oldest_that_is_kept() {
        let engine = Engine::new();
        engine.print(0..2);
        engine.rotate();
        engine.print(2..4);
        let (mut reader, is_cut) = engine.reader();
        assert!(is_cut);
        assert_eq!(drain(&mut reader), [0, 1, 2, 3]);
    }

    #[test]
    fn a_reader_amid_a_rotation_knows_that_older_is_gone() {
        let engine = Engine::new();
        engine.print(0..1);
        assert!(!engine.reader().1);
        engine.print(1..2);
        engine.rotate();
        engine.print(2..4);
        // The engine removed the older file and did not rename the newest one yet.
        fs::remove_file(rotated(&engine.path)).unwrap();
        let (mut reader, is_cut) = engine.reader();
        assert!(is_cut);
        assert_eq!(drain(&mut reader), [2, 3]);
        fs::rename(&engine.path, rotated(&engine.path)).unwrap();
        assert!(drain(&mut reader).is_empty());
        File::create(&engine.path).unwrap();
        engine.print(4..5);
        assert_eq!(drain(&mut reader), [4]);
    }

    #[test]
    fn a_half_written_entry_is_waited_for_and_a_bad_one_passed_over() {
        let engine = Engine::new();
        let (mut reader, _) = engine.reader();
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&engine.path)
            .unwrap();
        file.write_all(b"garbage\n{\"log\":\"7\\n\",\"stream\":\"stdout\",")
            .unwrap();
        assert!(drain(&mut reader).is_empty());
        file.write_all(b"\"time\":\"2026-01-01T00:00:00Z\"}\n")
            .unwrap();
        assert_eq!(drain(&mut reader), [7]);
    }

    #[test]
    fn a_position_is_found_again_after_a_rotation() {
        let engine = Engine::new();
        let (mut reader, _) = engine.reader();
        engine.print(0..2);
        assert_eq!(drain(&mut reader), [0, 1]);
        let position = reader.position().unwrap();
        engine.print(2..3);
        engine.rotate();
        engine.print(3..4);
        assert_eq!(drain(&mut reader), [2, 3]);
        reader.seek_to(position).unwrap();
        reader.skip(1).unwrap();
        assert_eq!(drain(&mut reader), [3]);
    }

    #[test]
    fn no_file_is_an_error_at_first_and_nothing_later() {
        let engine = Engine::new();
        let (mut reader, _) = engine.reader();
        fs::remove_file(&engine.path).unwrap();
        assert!(drain(&mut reader).is_empty());
        assert!(EngineLogReader::open(engine.path.clone(), FULL_BYTES).is_err());
    }
}
