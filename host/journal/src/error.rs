//! How the journal fails.

use std::path::Path;

use hersh_machine::driver;
use hersh_program::ProgramId;

/// Why the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refused.
    #[error(
        "journal {path} can't be opened: {source}; check the folder's permissions and free space"
    )]
    Sqlite {
        /// The file.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file is damaged.
    #[error(
        "journal {path} is damaged: {message}; put a backup in its place with 'hersh host restore FILE', or without one begin anew with 'hersh host adopt'"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What the check found first.
        message: String,
    },
    /// A newer host wrote it.
    #[error("journal {path} has schema {found}, this host knows up to {known}; run the newer host")]
    TooNew {
        /// The file.
        path: String,
        /// Its schema version.
        found: u32,
        /// The newest that this host knows.
        known: u32,
    },
    /// A program in a journal of an older host can't be brought back by this one.
    #[error("journal {path} is left as it was: {source}")]
    Unfit {
        /// The file.
        path: String,
        /// What was found.
        source: JournalError,
    },
    /// It lies in the data folder, and is to be in a folder of its own.
    #[error(
        "{path} was left behind, and journal_dir names {folder}: while no host runs, move it there with journal.db, journal.db-wal and journal.db-shm as far as they lie beside it"
    )]
    Elsewhere {
        /// Where it is.
        path: String,
        /// Where it is to be.
        folder: String,
    },
    /// The writer thread could not be started.
    #[error("journal writer can't be started: {0}")]
    Thread(std::io::Error),
}

/// Why something could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A program of that id is there already.
    #[error("a program named {0} exists")]
    Exists(ProgramId),
    /// The user who would own it is gone.
    #[error("the user {0} is gone")]
    NoOwner(String),
    /// The token that it was asked for with gives the right to it no more.
    #[error(
        "the token that asked for this is not valid any more, or its user has another role; nothing has changed"
    )]
    Revoked,
    /// The disk is full.
    #[error("the disk that holds the journal is full")]
    Full,
    /// SQLite refused.
    #[error("journal: {0}")]
    Sqlite(String),
    /// A stored record can't be read.
    #[error("journal: record {seq} of {program} can't be read: {message}")]
    Unreadable {
        /// Whose.
        program: String,
        /// Which.
        seq: u64,
        /// Why.
        message: String,
    },
    /// A stored user or token can't be read.
    #[error("journal: a row of {table} can't be read: {message}")]
    BadRow {
        /// The table.
        table: &'static str,
        /// Why.
        message: String,
    },
    /// This host decides otherwise than the one that wrote the journal.
    #[error(
        "record {seq} of program {program} was written by a host that decided otherwise; start the version that wrote it"
    )]
    Diverged {
        /// Whose.
        program: ProgramId,
        /// Which.
        seq: u64,
    },
    /// The writer has ended: the host is shutting down.
    #[error("journal is closed")]
    Closed,
}

impl OpenError {
    /// What SQLite said of the database at `path`: that it is damaged, or something about the machine.
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

    /// True for what the next start meets again.
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
    /// True for what the next start meets again.
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

/// Says what SQLite said, with the full disk told from the rest.
pub(super) fn explain(error: &rusqlite::Error) -> JournalError {
    match has_no_room(error) {
        true => JournalError::Full,
        false => JournalError::Sqlite(error.to_string()),
    }
}

/// Whether the disk had no room for what SQLite wanted, the index of its log among it.
pub(super) fn has_no_room(error: &rusqlite::Error) -> bool {
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
