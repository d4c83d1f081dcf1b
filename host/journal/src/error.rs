//! The errors of the journal.

use std::path::Path;

use hersh_machine::driver;
use hersh_program::ProgramId;

/// Why the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite could not open the file.
    #[error(
        "journal {path} can't be opened: {source}; check the folder's permissions and free space"
    )]
    Sqlite {
        /// The journal's file.
        path: String,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// The file is damaged.
    #[error(
        "journal {path} is damaged: {message}; put a backup in its place with 'hersh host restore FILE', or without one begin anew with 'hersh host set-aside'"
    )]
    Damaged {
        /// The journal's file.
        path: String,
        /// The first damage that the check found.
        message: String,
    },
    /// A newer host wrote the journal.
    #[error("journal {path} has schema {found}, this host knows up to {known}; run the newer host")]
    TooNew {
        /// The journal's file.
        path: String,
        /// Its schema version.
        found: u32,
        /// The newest schema version that this host knows.
        known: u32,
    },
    /// An older host wrote the journal, and this host can't read a program in it or would decide otherwise.
    #[error("journal {path} is left as it was: {source}")]
    Unfit {
        /// The journal's file.
        path: String,
        /// The error that the program's records gave.
        source: JournalError,
    },
    /// A file of the journal lies in the data folder, although the journal has a folder of its own.
    #[error(
        "{path} was left behind, and journal_dir names {folder}: while no host runs, move it there with journal.db, journal.db-wal and journal.db-shm as far as they lie beside it"
    )]
    Elsewhere {
        /// The path of the file that was left behind.
        path: String,
        /// The journal's own folder, where the file has to be.
        folder: String,
    },
    /// The writer thread could not be started.
    #[error("journal writer can't be started: {0}")]
    Thread(std::io::Error),
}

/// Why something could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A program with this id exists already.
    #[error("a program named {0} exists")]
    Exists(ProgramId),
    /// The user who would own the new program was removed.
    #[error("the user {0} is gone")]
    NoOwner(String),
    /// The token of the request is not valid any more, or its user has another role.
    #[error(
        "the token that asked for this is not valid any more, or its user has another role; nothing has changed"
    )]
    Revoked,
    /// The disk is full.
    #[error("the disk that holds the journal is full")]
    Full,
    /// SQLite could not do it, for another reason than a full disk.
    #[error("journal: {0}")]
    Sqlite(String),
    /// A stored record can't be read.
    #[error("journal: record {seq} of {program} can't be read: {message}")]
    Unreadable {
        /// The program that the record belongs to.
        program: String,
        /// The number of the record; 0 for the first state or the snapshot.
        seq: u64,
        /// The reason why it can't be read.
        message: String,
    },
    /// A stored user or token can't be read.
    #[error("journal: a row of {table} can't be read: {message}")]
    BadRow {
        /// The table of the row.
        table: &'static str,
        /// The reason why it can't be read.
        message: String,
    },
    /// This host decides otherwise at this record than the host that wrote the journal.
    #[error(
        "record {seq} of program {program} was written by a host that decided otherwise; start the version that wrote it"
    )]
    Diverged {
        /// The program that the record belongs to.
        program: ProgramId,
        /// The number of the record.
        seq: u64,
    },
    /// The writer has ended: the host is shutting down.
    #[error("journal is closed")]
    Closed,
}

impl OpenError {
    /// Returns the error for `source`, which SQLite gave for the database at `path`: [`Self::Damaged`] if the
    /// file is damaged, otherwise [`Self::Sqlite`].
    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.display().to_string();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Damaged {
                path,
                message: "it does not begin as a journal does".to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                message: source.to_string(),
            },
            Some(_) | None => Self::Sqlite { path, source },
        }
    }

    /// Returns true for an error that the next start would meet again, so that a person has to act.
    pub fn needs_person(&self) -> bool {
        use rusqlite::ErrorCode;
        match self {
            Self::Damaged { .. }
            | Self::TooNew { .. }
            | Self::Unfit { .. }
            | Self::Elsewhere { .. } => true,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly)
            ),
            Self::Thread(_) => false,
        }
    }
}

impl JournalError {
    /// Returns true for an error that the next start would meet again, so that a person has to act.
    pub fn needs_person(&self) -> bool {
        match self {
            Self::BadRow { .. } | Self::Unreadable { .. } | Self::Diverged { .. } => true,
            Self::Exists(_)
            | Self::NoOwner(_)
            | Self::Revoked
            | Self::Full
            | Self::Sqlite(_)
            | Self::Closed => false,
        }
    }
}

impl From<JournalError> for driver::JournalError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full => Self::Full,
            JournalError::Closed => Self::Closed,
            JournalError::Revoked => Self::Revoked,
            JournalError::Exists(_)
            | JournalError::NoOwner(_)
            | JournalError::Sqlite(_)
            | JournalError::BadRow { .. }
            | JournalError::Unreadable { .. }
            | JournalError::Diverged { .. } => Self::Other(error.to_string()),
        }
    }
}

/// Turns an error of SQLite into [`JournalError::Full`] if the disk had no space, otherwise into
/// [`JournalError::Sqlite`].
pub(super) fn explain(error: &rusqlite::Error) -> JournalError {
    match has_no_space(error) {
        true => JournalError::Full,
        false => JournalError::Sqlite(error.to_string()),
    }
}

/// Returns whether SQLite failed because the disk had no space, be it for the database, for its log or for
/// the index of the log.
pub(super) fn has_no_space(error: &rusqlite::Error) -> bool {
    use rusqlite::{
        ErrorCode,
        ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE},
    };
    let said = error.sqlite_error();
    said.is_some_and(|said| {
        said.code == ErrorCode::DiskFull
            || matches!(
                said.extended_code,
                SQLITE_IOERR_SHMSIZE | SQLITE_IOERR_SHMMAP | SQLITE_IOERR_SHMOPEN
            )
    })
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        explain(&error)
    }
}
