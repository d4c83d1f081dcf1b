//! The folder of one watcher: a snapshot of what it keeps, and a log of the commits since.
//!
//! ```text
//! context.json ──names──► context.0.log or context.1.log: commit │ commit │ commit …
//! ```
//! The log grows by a frame a commit, until it is longer than the snapshot: then a new snapshot names the other
//! file. Neither is changed but at its end, so that a crash at any byte leaves what was committed. At a clean end
//! the snapshot stands alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::commit::Commit;
use super::commit_log::{CommitLog, head};
use super::files::{self, FILE, LOGS};
use super::snapshot::{self, LogName};
use super::{FolderContents, LastEnd};
use crate::StartError;

const TEMPORARY: &str = "context.json.new";
const LOCK: &str = "context.lock";
/// While this is there, nothing can be written.
#[cfg(test)]
pub(crate) const FAILS: &str = "broken-disk";

/// The folder where one watcher keeps its context. The folder is locked while this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Told from those of other lives by where it begins.
    next_log_id: u64,
    named: LogInUse,
    /// False when a power cut may bring back the snapshot before, with the log that it names.
    is_name_synced: bool,
    /// The log that commits are added to; `None` until a snapshot of this life names it.
    log: Option<CommitLog>,
    /// The lock file. It holds the lock until it is dropped.
    _lock: File,
}

/// Which log the snapshot on disk names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogInUse {
    /// None: the snapshot, if there is one, says all.
    Nothing,
    /// One of the two files.
    File(u8),
}

/// How well something was saved.
#[derive(Clone, Debug)]
pub(crate) enum SaveResult {
    /// It survives a power cut.
    Synced,
    /// It survives the end of the process, but a power cut may bring the old state back: the folder could not be
    /// synced.
    Unsynced(Arc<str>),
}

impl StateDir {
    /// Opens the folder and reads what it holds; nothing is an empty context. The ids of the effects of this life
    /// begin with `space`.
    ///
    /// # Errors
    /// [`StartError::StateDir`] when the folder cannot be used, [`StartError::StateDirBusy`] when
    /// another watcher uses it, [`StartError::Snapshot`] when a file cannot be understood: it
    /// is left as it is, because starting empty would lose what it holds.
    pub(crate) fn open(path: &Path, space: u64) -> Result<(Self, FolderContents), StartError> {
        let failed = |error: io::Error| StartError::StateDir {
            path: path.into(),
            error: error.to_string(),
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::StateDirBusy { path: path.into() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (kept, log) = files::read(path, space)?;
        if log.is_some() {
            // What a killed process wrote may be in memory alone, and is built on from now on.
            files::sync(path).map_err(failed)?;
        }
        let directory = Self {
            path: path.into(),
            next_log_id: space,
            named: log.map_or(LogInUse::Nothing, |log| LogInUse::File(log.file)),
            is_name_synced: true,
            log: None,
            _lock: lock,
        };
        Ok((directory, kept))
    }

    /// Returns how the last life of the watcher ended, before this one commits anything.
    pub(crate) fn last_end(&self) -> LastEnd {
        match self.named {
            LogInUse::Nothing => LastEnd::Well,
            LogInUse::File(_) => LastEnd::Cut,
        }
    }

    /// Adds a commit, or several; `before` is what the folder holds before them. What is not synced outlives
    /// the process, and a power cut only if a later call syncs.
    ///
    /// # Errors
    /// What went wrong. What the folder held still stands, and the next call begins a new log: what a
    /// failed write or sync left in the old one must not come back behind commits that followed it.
    pub(crate) fn add(
        &mut self,
        commits: &[&Commit],
        syncs: bool,
        before: impl FnOnce() -> FolderContents,
    ) -> io::Result<SaveResult> {
        #[cfg(test)]
        self.fail_as_told()?;
        drop(self.log.take_if(|log| log.is_full()));
        let Some(log) = &mut self.log else {
            let mut kept = before();
            kept.apply(commits);
            return self.begin_log(&kept);
        };
        match log.append(commits, syncs) {
            Ok(()) => Ok(self.sync_name()),
            Err(error) => {
                // If this fails too, a crash before the next commit may bring these commits back. So may one in
                // the middle of any write.
                let _ = log.cut();
                self.log = None;
                Err(error)
            }
        }
    }

    /// Writes one snapshot that stands alone, if commits stand in a log.
    ///
    /// # Errors
    /// The error of the file system; snapshot and log still stand.
    pub(crate) fn fold(&mut self, kept: &FolderContents) -> io::Result<()> {
        if self.named == LogInUse::Nothing {
            return Ok(());
        }
        self.log = None;
        self.save(kept, None)?;
        self.sync_name();
        Ok(())
    }

    /// Writes a snapshot and begins the log that it names.
    fn begin_log(&mut self, kept: &FolderContents) -> io::Result<SaveResult> {
        let number = match self.named {
            LogInUse::Nothing | LogInUse::File(1..) => 0,
            LogInUse::File(0) => 1,
        };
        let name = LogName {
            file: number,
            id: format!("{:016x}", self.next_log_id),
        };
        self.next_log_id = self.next_log_id.wrapping_add(1);
        let path = self.path.join(LOGS[usize::from(number)]);
        let begun = self.begin_log_at(&path, kept, name);
        if begun.is_err() {
            // A full disk needs the room.
            let _ = remove(&path);
            let _ = remove(&self.path.join(TEMPORARY));
        }
        self.log = Some(begun?);
        Ok(self.sync_name())
    }

    fn begin_log_at(
        &mut self,
        path: &Path,
        kept: &FolderContents,
        name: LogName,
    ) -> io::Result<CommitLog> {
        remove(path)?;
        let mut file = private().create_new(true).open(path)?;
        let head = head(&name.id);
        file.write_all(head.as_bytes())?;
        file.sync_all()?;
        // The name of the log has to be on disk before a snapshot names it.
        self.sync_folder()?;
        let snapshot_bytes = self.save(kept, Some(name))?;
        Ok(CommitLog::new(file, &head, snapshot_bytes))
    }

    /// Replaces the snapshot, whose name is not synced then. Returns its size in bytes.
    fn save(&mut self, kept: &FolderContents, log: Option<LogName>) -> io::Result<usize> {
        let temporary = self.path.join(TEMPORARY);
        // The next temporary file is our own, whatever somebody had put there.
        remove(&temporary)?;
        let named = log
            .as_ref()
            .map_or(LogInUse::Nothing, |log| LogInUse::File(log.file));
        let bytes = snapshot::encode(kept, log)?;
        let mut file = private().create_new(true).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, self.path.join(FILE))?;
        // The new snapshot stands already: if the run counted as failed, its work would be done twice.
        self.named = named;
        self.is_name_synced = false;
        Ok(bytes.len())
    }

    /// Makes sure that a power cut does not bring the snapshot before back, and removes the logs that nothing names
    /// any more. Until that succeeds, nothing that is committed survives a power cut for sure.
    fn sync_name(&mut self) -> SaveResult {
        if self.is_name_synced {
            return SaveResult::Synced;
        }
        if let Err(error) = self.sync_folder() {
            return SaveResult::Unsynced(error.to_string().into());
        }
        self.is_name_synced = true;
        for (number, log) in (0..).zip(LOGS) {
            if self.named != LogInUse::File(number) {
                // If it stays, it only takes room.
                let _ = remove(&self.path.join(log));
            }
        }
        SaveResult::Synced
    }

    /// Fails as a disk does, while a test says so.
    #[cfg(test)]
    fn fail_as_told(&self) -> io::Result<()> {
        match self.path.join(FAILS).exists() {
            true => Err(io::Error::other("the test broke the disk")),
            false => Ok(()),
        }
    }

    /// Returns what a folder holds that may be in use.
    #[cfg(test)]
    pub(crate) fn look(path: &Path) -> FolderContents {
        files::read(path, 0).unwrap().0
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path).and_then(|folder| folder.sync_all())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns options for files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::store::{LedgerChange, OpenEffect, Progress, Values};

    fn set(key: &str, json: &str) -> Commit {
        Commit {
            values: vec![(key.into(), Some(json.into()))],
            ..Commit::default()
        }
    }

    /// A folder with what it holds in memory.
    struct OpenFolder {
        state: StateDir,
        kept: FolderContents,
    }

    impl OpenFolder {
        fn new(path: &Path) -> Self {
            let (state, kept) = StateDir::open(path, 7).unwrap();
            Self { state, kept }
        }

        fn add(&mut self, commit: &Commit) -> io::Result<SaveResult> {
            let result = self.state.add(&[commit], true, || self.kept.clone())?;
            self.kept.apply(&[commit]);
            Ok(result)
        }
    }

    fn values(path: &Path) -> Values {
        StateDir::open(path, 7).unwrap().1.values
    }

    /// What was written of a log, without what it is ahead.
    fn written(log: &Path) -> Vec<u8> {
        let mut bytes = fs::read(log).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(end + 1);
        bytes
    }

    fn pairs(pairs: &[(&str, &str)]) -> Values {
        let pair = |(key, json): &(&str, &str)| (Arc::from(*key), Arc::from(*json));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn commits_are_read_back_and_a_clean_end_leaves_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        opened.add(&set("a", "1")).unwrap();
        opened
            .add(&set("big", "340282366920938463463374607431768211455"))
            .unwrap();
        opened.add(&set("a", "2")).unwrap();
        let kept = opened.kept.clone();
        drop(opened);
        let mut again = OpenFolder::new(folder.path());
        assert_eq!(again.kept, kept);
        again.state.fold(&kept).unwrap();
        drop(again);
        let mut files: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, [FILE, LOCK]);
        assert_eq!(values(folder.path()), kept.values);
    }

    #[test]
    fn a_crash_at_any_byte_leaves_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        opened.add(&set("a", "1")).unwrap();
        let log = folder.path().join(LOGS[0]);
        let before = written(&log).len();
        opened.add(&set("a", "2")).unwrap();
        drop(opened);
        let whole = written(&log);
        for end in before..=whole.len() {
            fs::write(&log, &whole[..end]).unwrap();
            let expected = if end == whole.len() { "2" } else { "1" };
            assert_eq!(values(folder.path()), pairs(&[("a", expected)]), "{end}");
        }
        // A snapshot that was never wholly written.
        let next = fs::read(folder.path().join(FILE)).unwrap();
        for end in 0..=next.len() {
            fs::write(folder.path().join(TEMPORARY), &next[..end]).unwrap();
            fs::write(folder.path().join(LOGS[1]), &whole[..end.min(40)]).unwrap();
            assert_eq!(values(folder.path()), pairs(&[("a", "2")]), "{end}");
        }
    }

    #[test]
    fn a_long_log_gives_way_to_a_snapshot_and_the_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        let long = format!("\"{}\"", "x".repeat(100_000));
        let mut sizes = Vec::new();
        for n in 0..40 {
            opened.add(&set("long", &long)).unwrap();
            opened.add(&set("n", &n.to_string())).unwrap();
            let size = |file: &str| fs::metadata(folder.path().join(file)).map_or(0, |it| it.len());
            sizes.push(LOGS.map(size));
        }
        let most = sizes.iter().flatten().max().unwrap();
        assert!(
            *most < 2 * crate::store::commit_log::LOG_LEAST_BYTES as u64,
            "{sizes:?}"
        );
        let is_one = |[first, second]: &[u64; 2]| (*first == 0) != (*second == 0);
        assert!(sizes.iter().all(is_one), "{sizes:?}");
        assert!(sizes.iter().any(|[_, second]| *second > 1_000_000));
        let kept = opened.kept.clone();
        drop(opened);
        assert_eq!(values(folder.path()), kept.values);
    }

    #[test]
    fn a_log_without_its_snapshot_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        opened.add(&set("a", "1")).unwrap();
        drop(opened);
        let snapshot = folder.path().join(FILE);
        let moved = folder.path().join("moved");
        fs::rename(&snapshot, &moved).unwrap();
        // A crash in the very first commit leaves this.
        assert_eq!(values(folder.path()), Values::new());
        fs::rename(&moved, &snapshot).unwrap();
        let mut opened = OpenFolder::new(folder.path());
        opened.add(&set("a", "2")).unwrap();
        opened.add(&set("a", "3")).unwrap();
        drop(opened);
        fs::rename(&snapshot, &moved).unwrap();
        let told = StateDir::open(folder.path(), 7).unwrap_err().to_string();
        assert!(told.contains("context.json: it is missing"), "{told}");
    }

    #[test]
    fn its_files_are_private_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        let mut opened = OpenFolder::new(folder.path());
        symlink(&elsewhere, folder.path().join(TEMPORARY)).unwrap();
        symlink(&elsewhere, folder.path().join(LOGS[0])).unwrap();
        opened.add(&set("a", "1")).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
        for file in [FILE, LOGS[0]] {
            let metadata = fs::symlink_metadata(folder.path().join(file)).unwrap();
            assert_eq!(
                metadata.permissions().mode() & 0o177_777,
                0o100_600,
                "{file}"
            );
        }
    }

    #[test]
    fn a_folder_serves_one_watcher_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path(), 7).unwrap();
        let second = StateDir::open(folder.path(), 7).unwrap_err();
        assert!(matches!(second, StartError::StateDirBusy { .. }));
        drop(first);
        StateDir::open(folder.path(), 7).unwrap();
    }

    #[test]
    fn what_cannot_be_understood_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let log = r#"{"version":3,"values":{},"log":{"file":0,"id":"x"}}"#;
        for damaged in [
            "",
            "{\"version\":1,\"val",
            "{\"version\":9,\"values\":{}}",
            log,
        ] {
            fs::write(&file, damaged).unwrap();
            let error = StateDir::open(folder.path(), 7).unwrap_err();
            assert!(matches!(error, StartError::Snapshot { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
        }
        // The log of another snapshot.
        fs::write(folder.path().join(LOGS[0]), head("y")).unwrap();
        let error = StateDir::open(folder.path(), 7).unwrap_err().to_string();
        assert!(
            error.contains("context.0.log: it is not the log"),
            "{error}"
        );
    }

    #[test]
    fn a_write_that_failed_never_comes_back_behind_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        opened.add(&set("a", "1")).unwrap();
        // A file that is open for reading alone takes no byte, even of root.
        let path = folder.path().join(LOGS[0]);
        let log = opened.state.log.as_mut().unwrap();
        log.file = File::open(&path).unwrap();
        assert!(opened.add(&set("a", "2")).is_err());
        // A folder in the way of the temporary file fails even for root.
        fs::create_dir(folder.path().join(TEMPORARY)).unwrap();
        assert!(opened.add(&set("b", "3")).is_err());
        fs::remove_dir(folder.path().join(TEMPORARY)).unwrap();
        assert_eq!(
            files::read(folder.path(), 7).unwrap().0.values,
            pairs(&[("a", "1")])
        );
        opened.add(&set("b", "4")).unwrap();
        opened.add(&set("c", "5")).unwrap();
        drop(opened);
        let expected = [("a", "1"), ("b", "4"), ("c", "5")];
        assert_eq!(values(folder.path()), pairs(&expected));
    }

    #[test]
    fn effects_are_read_back_and_each_life_has_ids_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = OpenFolder::new(folder.path());
        let mut effect = OpenEffect {
            space: 7,
            effect: "orders".into(),
            key: Some("btc".into()),
            input: r#"{"price":0.1,"text":"\"quoted\""}"#.into(),
            asked_at_ms: 1,
            once: true,
            cancelled: false,
            progress: Progress::Waiting,
        };
        let id = opened.kept.ledger.outline().ask(&effect).unwrap();
        let asked = LedgerChange::Asked(id.number, effect.clone());
        let commit = Commit {
            effects: vec![asked],
            ..Commit::default()
        };
        opened.add(&commit).unwrap();
        drop(opened);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            text.contains(&*effect.input),
            "inputs stand there as they are: {text}"
        );
        let (_state, kept) = StateDir::open(folder.path(), 8).unwrap();
        assert_eq!(kept.ledger.get(1), Some(&effect));
        assert_eq!(kept.ledger.number(id), Some(1));
        effect.space = 8;
        assert_eq!(
            kept.ledger.outline().ask(&effect).unwrap().to_string(),
            "0000000000000008-2"
        );
    }
}
