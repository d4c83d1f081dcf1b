//! Writes parts: buffers while the engine is busy, rotates, keeps the number of parts bounded.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{self, MAGIC};
use super::parts::{part_path, parts_in};
use super::record::{Entry, Part};
use super::saves::{Save, Saves};
use super::{BUFFER_BYTES, JournalLimits};
use crate::StartError;
use crate::base::sync::{Mutex, locked};
use crate::store::LedgerOutline;

const LOCK: &str = "journal.lock";
/// Most parts that are kept, however small they are: each start of a program makes one.
const PART_LIMIT: usize = 1_000;
/// How long written bytes may wait for their sync.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// A journal that runs are added to.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    folder: PathBuf,
    limits: JournalLimits,
    file: File,
    /// Numbers and bytes of the finished parts that are on disk, oldest first.
    finished: VecDeque<(u64, u64)>,
    /// The number of the part that is being written.
    number: u64,
    buffer: Vec<u8>,
    /// Bytes of the part that is being written, and bytes of its runs alone.
    part_bytes: u64,
    runs_bytes: u64,
    /// Since when written bytes wait for a sync, if any do.
    unsynced_since: Option<Instant>,
    state: Arc<Mutex<JournalState>>,
    saves: Arc<Saves>,
    /// The lock file. It holds the lock until it is dropped.
    _lock: File,
}

/// The state of a journal, as it is shown.
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
    /// Parts that are on disk.
    pub(crate) parts: usize,
    /// Why nothing more is recorded; `None` while recording goes on.
    pub(crate) error: Option<String>,
    /// The writes and syncs that are under way.
    pub(crate) saves: Arc<Saves>,
}

impl JournalWriter {
    /// Opens the folder for a new session that begins with this part and these open effects.
    ///
    /// # Errors
    /// [`StartError::Journal`] when the folder cannot be used or another watcher writes to it.
    pub(crate) fn open(
        folder: &Path,
        limits: JournalLimits,
        (part, effects): (Part, LedgerOutline),
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
        let mut finished = VecDeque::new();
        for number in parts_in(folder).map_err(failed)? {
            let bytes = fs::metadata(part_path(folder, number)).map_or(0, |it| it.len());
            finished.push_back((number, bytes));
        }
        let number = finished.back().map_or(1, |(last, _)| last + 1);
        let file = create(folder, number).map_err(failed)?;
        let state = JournalState::default();
        let saves = state.saves.clone();
        let mut writer = Self {
            folder: folder.into(),
            limits,
            file,
            finished,
            number,
            buffer: Vec::new(),
            part_bytes: 0,
            runs_bytes: 0,
            unsynced_since: None,
            state: Arc::new(Mutex::new(state)),
            saves,
            _lock: lock,
        };
        writer.begin(part, effects).map_err(failed)?;
        Ok(writer)
    }

    /// Returns the state of the journal, as it is shown.
    pub(crate) fn state(&self) -> Arc<Mutex<JournalState>> {
        self.state.clone()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The error of the file system; the journal ends then.
    pub(crate) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let before = self.buffer.len();
        frame::append(&mut self.buffer, entry).map_err(io::Error::other)?;
        let bytes = (self.buffer.len() - before) as u64;
        self.part_bytes += bytes;
        self.runs_bytes += bytes;
        let mut state = locked(&self.state);
        state.bytes += bytes;
        state.runs += u64::from(matches!(entry, Entry::Run(_) | Entry::ActingRun(..)));
        drop(state);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Returns whether the next part should begin. The beginning of a part does not count: a large
    /// context must not make each run a part of its own.
    pub(crate) fn is_full(&self) -> bool {
        self.runs_bytes >= self.limits.part_bytes
    }

    /// Returns when written bytes are to be synced, if any are not.
    pub(crate) fn sync_due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_AFTER)
    }

    /// Returns whether anything waits in memory.
    pub(crate) fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Begins the next part and removes the oldest ones.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn rotate(&mut self, part: Part, effects: LedgerOutline) -> io::Result<()> {
        self.flush()?;
        self.sync();
        self.finished.push_back((self.number, self.part_bytes));
        self.number += 1;
        self.file = create(&self.folder, self.number)?;
        self.begin(part, effects)
    }

    /// Gives what waits in memory to the operating system, and to the disk once in a while.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let save = Save::begin(&self.saves);
        self.file.write_all(&self.buffer)?;
        drop(save);
        self.buffer.clear();
        let now = Instant::now();
        let since = *self.unsynced_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= SYNC_AFTER {
            self.sync();
        }
        Ok(())
    }

    /// Syncs written bytes away from the engine's thread, because the engine must not wait for a
    /// disk. A disk that fails to sync is noticed by the next write, or never: the journal promises
    /// no more.
    pub(crate) fn sync(&mut self) {
        self.unsynced_since = None;
        if let Ok(file) = self.file.try_clone() {
            let save = Save::begin(&self.saves);
            tokio::task::spawn_blocking(move || {
                let synced = file.sync_data();
                drop(save);
                synced
            });
        }
    }

    /// Adds the last entry and syncs it.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub(crate) fn finish(&mut self, entry: &Entry) -> io::Result<()> {
        self.append(entry)?;
        self.flush()?;
        self.unsynced_since = None;
        let _save = Save::begin(&self.saves);
        self.file.sync_all()
    }

    fn begin(&mut self, part: Part, effects: LedgerOutline) -> io::Result<()> {
        self.buffer.extend_from_slice(MAGIC);
        self.part_bytes = MAGIC.len() as u64;
        self.append(&Entry::Began(Box::new(part)))?;
        self.append(&Entry::Effects(effects))?;
        self.runs_bytes = 0;
        self.flush()?;
        // The folder is synced too: the name of the part is on disk only once the folder is.
        if let (Ok(file), Ok(folder)) = (self.file.try_clone(), File::open(&self.folder)) {
            let save = Save::begin(&self.saves);
            let sync = move || {
                let synced = file.sync_all().and_then(|()| folder.sync_all());
                drop(save);
                synced
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(sync)),
                // Outside any runtime, at a start, nothing waits for this thread yet, so it may
                // block.
                Err(_) => sync()?,
            }
        }
        self.remove_oldest()?;
        locked(&self.state).parts = self.finished.len() + 1;
        Ok(())
    }

    /// Removes the oldest parts while the journal exceeds its limits.
    fn remove_oldest(&mut self) -> io::Result<()> {
        let mut total = self.finished.iter().map(|(_, bytes)| bytes).sum::<u64>();
        while total > self.limits.total_bytes || self.finished.len() >= PART_LIMIT {
            let Some((number, bytes)) = self.finished.pop_front() else {
                return Ok(());
            };
            match fs::remove_file(part_path(&self.folder, number)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                // Somebody else may have removed the part already.
                Ok(()) | Err(_) => {}
            }
            total -= bytes;
        }
        Ok(())
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    options()
        .create_new(true)
        .append(true)
        .open(part_path(folder, number))
}

/// Returns options for files that only their owner may read: messages may be private.
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    options
}
