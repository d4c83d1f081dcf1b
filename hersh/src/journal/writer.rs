//! Writes parts: buffers while the engine is busy, rotates, keeps the number of parts bounded.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{self, MAGIC};
use super::reader::parts_in;
use super::record::{Entry, Part};
use super::{BUFFER_BYTES, JournalLimits};
use crate::StartError;
use crate::sync::{Mutex, locked};

const LOCK: &str = "journal.lock";
/// How long what is written may wait for its sync.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// A journal that runs are added to.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    folder: PathBuf,
    limits: JournalLimits,
    file: File,
    /// Numbers of the parts that are there, oldest first; the last is being written.
    parts: Vec<u64>,
    buffer: Vec<u8>,
    part_bytes: u64,
    synced_at: Instant,
    state: Arc<Mutex<JournalState>>,
    /// Holds the lock until it is dropped.
    _lock: File,
}

/// A journal as it is shown.
#[cfg_attr(
    not(feature = "api"),
    allow(dead_code, reason = "only the API shows it")
)]
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalState {
    /// Runs recorded in this session.
    pub(crate) runs: u64,
    /// Bytes recorded in this session.
    pub(crate) bytes: u64,
    /// Parts that are there.
    pub(crate) parts: usize,
    /// Why nothing more is recorded, if that is so.
    pub(crate) error: Option<String>,
}

impl JournalWriter {
    /// Opens the folder for a new session that begins with `part`.
    ///
    /// # Errors
    /// [`StartError::Journal`] when the folder cannot be used or another watcher writes to it.
    pub(crate) fn open(
        folder: &Path,
        limits: JournalLimits,
        part: Part,
    ) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Journal {
            path: folder.into(),
            error: error.to_string(),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = options().open(folder.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(io::Error::other("another watcher writes to it")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut parts = parts_in(folder).map_err(failed)?;
        let number = parts.last().map_or(1, |last| last + 1);
        let file = create(folder, number).map_err(failed)?;
        parts.push(number);
        let mut writer = Self {
            folder: folder.into(),
            limits,
            file,
            parts,
            buffer: Vec::new(),
            part_bytes: 0,
            synced_at: Instant::now(),
            state: Arc::default(),
            _lock: lock,
        };
        writer.begin(part).map_err(failed)?;
        Ok(writer)
    }

    /// What is shown of it.
    pub(crate) fn state(&self) -> Arc<Mutex<JournalState>> {
        self.state.clone()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the file system said: the journal ends here.
    pub(crate) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let before = self.buffer.len();
        frame::append(&mut self.buffer, entry).map_err(io::Error::other)?;
        let bytes = (self.buffer.len() - before) as u64;
        self.part_bytes += bytes;
        let mut state = locked(&self.state);
        state.bytes += bytes;
        state.runs += u64::from(matches!(entry, Entry::Run(_)));
        drop(state);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether the next part should begin.
    pub(crate) fn is_full(&self) -> bool {
        self.part_bytes >= self.limits.part_bytes
    }

    /// Whether anything waits in memory.
    pub(crate) fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Begins the next part and removes the oldest ones.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn rotate(&mut self, part: Part) -> io::Result<()> {
        self.flush()?;
        self.file.sync_all()?;
        let number = self.parts.last().map_or(1, |last| last + 1);
        self.file = create(&self.folder, number)?;
        self.parts.push(number);
        self.part_bytes = 0;
        self.begin(part)
    }

    /// Gives what waits in memory to the operating system, and to the disk once in a while.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        if self.synced_at.elapsed() >= SYNC_AFTER {
            self.synced_at = Instant::now();
            let file = self.file.try_clone()?;
            // Away from the engine, which must not wait for a disk. A sync that fails is told by
            // the one at the end of the part.
            tokio::task::spawn_blocking(move || file.sync_data());
        }
        Ok(())
    }

    /// The last entry, synced.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn finish(&mut self, entry: &Entry) -> io::Result<()> {
        self.append(entry)?;
        self.flush()?;
        self.file.sync_all()
    }

    fn begin(&mut self, part: Part) -> io::Result<()> {
        self.buffer.extend_from_slice(MAGIC);
        self.append(&Entry::Began(Box::new(part)))?;
        self.flush()?;
        // The name of the part is in the folder only once that is on disk.
        File::open(&self.folder)?.sync_all()?;
        while self.parts.len() > self.limits.parts {
            fs::remove_file(part_path(&self.folder, self.parts[0]))?;
            self.parts.remove(0);
        }
        locked(&self.state).parts = self.parts.len();
        Ok(())
    }
}

/// The file of a part.
pub(super) fn part_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.journal"))
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    options()
        .create_new(true)
        .append(true)
        .open(part_path(folder, number))
}

/// For files that only their owner may read: messages may be private.
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    options
}
