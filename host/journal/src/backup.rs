//! Copies the journal while a host runs, checks a journal, and restores one from a copy.
//!
//! ```text
//! backup:  journal.db ─ copy ─► FILE.partial ─ checked, synced ─ rename ─► FILE
//! restore: FILE ─ copy ─► journal.db.restoring ─ checked, synced ─ rename ─► journal.db
//!                                       the old one stays as journal.db.before-restore-TIME
//! ```
//! If a backup or a restore is cut short, the file that was there before stays, and the next backup or
//! restore removes what was left.

mod replace;

pub use replace::{BackupTokens, RestoredJournal, restore};

use std::{
    fs,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use hersh_base::{
    lock::{self, LockError},
    partial::{PartialFile, PartialFileError},
};
use hersh_program::State;
use rusqlite::{Connection, OpenFlags};

use super::{Home, JournalError, OpenError, StoredProgram, fold, schema};

/// Why a journal was not copied, checked or restored. The file that was there before is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no journal at this path.
    #[error("there is no journal at {}; name the host's data folder with --data-dir, and --journal-dir if it has one", .0.display())]
    Missing(PathBuf),
    /// The copy would lie in a folder of the host.
    #[error("{} lies in a folder of the host; keep backups outside of it, best on another disk", .0.display())]
    InDataFolder(PathBuf),
    /// Another backup or restore is at work, or a host runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is not a journal of a Hersh host.
    #[error("{} is no journal of a Hersh host; name a file that 'hersh host backup' made", .0.display())]
    NoJournal(PathBuf),
    /// This host can't read a program in the journal, or would decide otherwise than the host that wrote it.
    #[error("{}: {source}", path.display())]
    Unfit {
        /// The journal's file.
        path: PathBuf,
        /// The error that the program's records gave.
        source: JournalError,
    },
    /// The file that was named can't be written to or read.
    #[error(transparent)]
    Named(#[from] PartialFileError),
    /// The reader of the copy has closed its end, or has no space.
    #[error("the copy can't be written: {0}")]
    Reader(io::Error),
    /// A file or folder can't be used.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// The action that was tried, as a verb.
        action: &'static str,
        /// The file or folder that it was tried on.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The number of programs, without removed ones.
    pub programs: u64,
    /// The number of stored records, without those that were folded into a snapshot and removed.
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Copies the journal of the host at `home`, such as its data folder, to `target`. If `target` is a plain
/// file, the copy replaces it in one step. A host may run meanwhile: the copy has every event that the
/// host had acknowledged when this began. Blocks on the disk.
///
/// # Errors
/// [`BackupError`]; `target` is as it was.
pub fn backup(home: impl Into<Home>, target: &Path) -> Result<Contents, BackupError> {
    let home = home.into();
    let source = existing_journal(&home)?;
    let folder = folder_of(target);
    let place = fs::canonicalize(folder).map_err(at("open", folder))?;
    for own in [home.data(), home.folder()] {
        if place.starts_with(fs::canonicalize(own).map_err(at("open", own))?) {
            return Err(BackupError::InDataFolder(target.to_owned()));
        }
    }
    let _lock = lock::take_for_backup(home.data())?;
    let partial = PartialFile::beside(target)?;
    copy(&source, partial.path())?;
    let contents = examine(partial.path())?;
    partial.rename_to_target()?;
    Ok(contents)
}

/// Like [`backup`], but writes the copy to `reader`. The copy is first completed and checked in the
/// journal's folder, and removed from there afterwards.
///
/// # Errors
/// [`BackupError`]; nothing was written to `reader` unless it is [`BackupError::Reader`].
pub fn backup_to(home: impl Into<Home>, reader: &mut impl Write) -> Result<Contents, BackupError> {
    let home = home.into();
    let source = existing_journal(&home)?;
    let _lock = lock::take_for_backup(home.data())?;
    let mut partial = PartialFile::beside(&beside(&source, ".backup"))?;
    copy(&source, partial.path())?;
    let contents = examine(partial.path())?;
    let read = partial.file();
    read.rewind()
        .and_then(|()| io::copy(read, reader))
        .and_then(|_bytes| reader.flush())
        .map_err(BackupError::Reader)?;
    Ok(contents)
}

/// Checks every page and every event of the journal at `home`. A host may run meanwhile. Changes
/// nothing; blocks on the disk.
///
/// # Errors
/// [`BackupError`] says what is wrong with the journal.
pub fn check(home: impl Into<Home>) -> Result<Contents, BackupError> {
    examine(&existing_journal(&home.into())?)
}

fn existing_journal(home: &Home) -> Result<PathBuf, BackupError> {
    home.check()?;
    let path = home.file();
    if path.is_file() {
        Ok(path)
    } else {
        Err(BackupError::Missing(path))
    }
}

/// Fills the empty file `target` with a copy of the database, without deleted rows. The file's mode stays.
fn copy(source: &Path, target: &Path) -> Result<(), BackupError> {
    let connection = open_read_only(source)?;
    let name = target.as_os_str().to_string_lossy();
    if name.as_bytes() != target.as_os_str().as_encoded_bytes() {
        let source = io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
        return Err(at("write", target)(source));
    }
    connection
        .execute("VACUUM INTO ?1", [&name])
        .map(drop)
        .map_err(|source| OpenError::sqlite(target, source).into())
}

/// Checks every page, every reference and every program.
fn examine(path: &Path) -> Result<Contents, BackupError> {
    let connection = open_read_only(path)?;
    schema::check_whole(&connection, path)?;
    let unfit = |source| BackupError::Unfit {
        path: path.to_owned(),
        source,
    };
    let programs = fold::load_all(&connection).map_err(unfit)?;
    let records = connection
        .query_row("SELECT COUNT(*) FROM records", [], |row| row.get(0))
        .map_err(|error| unfit(error.into()))?;
    Ok(Contents {
        programs: programs.iter().filter(|program| is_there(program)).count() as u64,
        records,
        bytes: fs::metadata(path).map_err(at("read", path))?.len(),
    })
}

fn is_there(program: &StoredProgram) -> bool {
    !matches!(program.stepper.state().state, State::Removed)
}

/// Opens the journal at `path` for reading. Refuses a file that is not a journal, and changes nothing.
fn open_read_only(path: &Path) -> Result<Connection, BackupError> {
    let sqlite = |source| OpenError::sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection
        .busy_timeout(schema::BUSY_TIMEOUT)
        .map_err(sqlite)?;
    match schema::version(&connection) {
        Ok(0) => Err(BackupError::NoJournal(path.to_owned())),
        Ok(found) => {
            schema::known(found, path)?;
            Ok(connection)
        }
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(BackupError::NoJournal(path.to_owned()))
        }
        Err(error) => Err(sqlite(error).into()),
    }
}

/// Returns a function for `map_err` that makes the failure of `action` on `path`.
fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File {
        action,
        path: path.clone(),
        source,
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove_if_there(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at("remove", path)(error)),
    }
}

/// Syncs a folder, so that the names in it outlast a power cut.
fn sync(folder: &Path) -> Result<(), BackupError> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at("sync", folder))
}
