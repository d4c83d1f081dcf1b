//! Finds folders and containers of programs that the journal can't know, because the journal was lost.
//!
//! ```text
//! journal gone or empty     ─► any folder of a program, any container with its /state here ┐
//! journal without a program ─► a folder of one that ran, a container that runs             ┴─► refused
//! journal with programs     ─► folders that it does not know are younger than a backup      ─► accepted
//! ```
//! Otherwise the host would treat the journal as that of a new host: it would remove sources and logs,
//! and leave containers running that nobody watches.

use std::{fmt, path::Path};

use hersh_journal::{Home, JOURNAL_FILE};
use hersh_program::ProgramId;
use hersh_storage::{Storage, StorageError};

use hersh_docker::UnclaimedContainer;
use hersh_sandbox::Unavailable;

/// The most names of programs that an error lists.
const NAMES_MAX: usize = 5;

/// The kind of a journal that knows no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptyJournal {
    /// No file, or an empty one: there was never a host here, or its journal is lost.
    Nothing,
    /// A complete journal without programs: every program was removed, or was made after this journal was
    /// backed up.
    NoProgram,
}

impl EmptyJournal {
    /// Returns the kind before the file is opened; `None` for a file that is not empty.
    pub(crate) fn of_file(home: &Home) -> Option<Self> {
        (file_bytes(&home.file()) == 0).then_some(Self::Nothing)
    }
}

/// Returns the length of a file, bytes; 0 if there is none.
fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Folders and containers that no journal knows. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclaimedPrograms {
    pub(crate) journal: EmptyJournal,
    /// The journal's folder.
    pub(crate) folder: String,
    /// True if a journal's log is there without its journal.
    pub(crate) has_log: bool,
    pub(crate) folders: Vec<ProgramId>,
    pub(crate) containers: Vec<UnclaimedContainer>,
}

impl std::error::Error for UnclaimedPrograms {}

impl fmt::Display for UnclaimedPrograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = &self.folder;
        match self.journal {
            EmptyJournal::Nothing => write!(f, "there is no journal in {folder}, or an empty one")?,
            EmptyJournal::NoProgram => write!(f, "the journal in {folder} knows no program")?,
        }
        let log = if self.has_log { "its log, " } else { "" };
        write!(
            f,
            ", but {log}folders of {} programs and {} containers are there",
            self.folders.len(),
            self.containers.len()
        )?;
        let folders = self.folders.iter().map(ProgramId::as_str);
        let containers = self
            .containers
            .iter()
            .map(|container| container.program.as_str());
        let mut names: Vec<&str> = folders.chain(containers).collect();
        names.sort_unstable();
        names.dedup();
        let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
        names.truncate(NAMES_MAX);
        if !names.is_empty() {
            write!(f, " ({}{more})", names.join(", "))?;
        }
        write!(
            f,
            "; nothing was changed: if the disk of {folder} is not mounted, mount it; or put a backup in the journal's place with 'hersh host restore FILE'; or begin anew with 'hersh host set-aside', which sets the folders aside and removes the containers"
        )
    }
}

/// The programs that the journal can't know, or why they could not be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error(transparent)]
    Unclaimed(#[from] UnclaimedPrograms),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Engine(#[from] Unavailable),
}

/// Refuses a data folder with programs that its journal can't know.
///
/// # Errors
/// [`ClaimError`]; nothing was changed.
pub(crate) async fn refuse_unclaimed(
    storage: &Storage,
    home: &Home,
    engine: &Path,
    journal: EmptyJournal,
) -> Result<(), ClaimError> {
    let mut folders = storage.programs()?;
    let mut has_log = false;
    match journal {
        // The log counts too, since SQLite would remove a log that it finds without its database.
        EmptyJournal::Nothing => {
            let log = home.folder().join(format!("{JOURNAL_FILE}-wal"));
            has_log = file_bytes(&log) > 0;
        }
        EmptyJournal::NoProgram => {
            let mut with_state = Vec::new();
            for program in folders {
                if storage.has_state(&program)? {
                    with_state.push(program);
                }
            }
            folders = with_state;
        }
    }
    let mut containers =
        match hersh_docker::unclaimed_containers(engine, &storage.programs_dir()).await {
            Ok(found) => found,
            // Without the engine's answer, the log or the folders are reason enough to refuse.
            Err(_) if has_log || !folders.is_empty() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    match journal {
        EmptyJournal::Nothing => {}
        // A container that has ended may be left by a removal that a crash cut short.
        EmptyJournal::NoProgram => containers.retain(|container| container.running),
    }
    if folders.is_empty() && containers.is_empty() && !has_log {
        return Ok(());
    }
    Err(ClaimError::Unclaimed(UnclaimedPrograms {
        journal,
        folder: home.folder().display().to_string(),
        has_log,
        folders,
        containers,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_to_do_is_told() {
        let id = |n: u32| ProgramId::parse(&format!("p{n}")).unwrap();
        let unclaimed = UnclaimedPrograms {
            journal: EmptyJournal::Nothing,
            folder: "/var/lib/hersh".to_owned(),
            has_log: false,
            folders: (0..7).map(id).collect(),
            containers: Vec::new(),
        };
        let said = unclaimed.to_string();
        assert!(
            said.contains("folders of 7 programs and 0 containers"),
            "{said}"
        );
        assert!(said.contains("(p0, p1, p2, p3, p4, ...)"), "{said}");
        for way in ["mount it", "hersh host restore", "hersh host set-aside"] {
            assert!(said.contains(way), "{said}");
        }
    }
}
