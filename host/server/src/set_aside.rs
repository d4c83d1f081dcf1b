//! `hersh host set-aside`: a person says that a journal is lost, and that the host begins anew.
//!
//! ```text
//! data folder locked ─► containers removed ─► folders ─► set-aside/ ─► journal, if unusable ─► set-aside/
//! ```
//! Nothing that is stored is removed. A call that was cut short is to be repeated: until it is complete,
//! a host refuses to start.

use std::path::{Path, PathBuf};

use hersh_base::lock::{DataLock, LockError};
use hersh_journal::{Home, Journal, JournalError, OpenError};
use hersh_storage::{Storage, StorageError, set_file_aside};

use crate::{serve::META_HOST_ID, unclaimed::EmptyJournal};
use hersh_docker::UnclaimedContainer;
use hersh_sandbox::Unavailable;

/// Why nothing was set aside. Everything stored is as it was, except for what was moved already.
#[derive(Debug, thiserror::Error)]
pub enum SetAsideError {
    /// There is no such folder.
    #[error("there is no folder {}; name the host's data folder with --data-dir", .0.display())]
    Missing(PathBuf),
    /// The journal is whole and knows programs.
    #[error(
        "the journal knows {0} programs, so there is nothing to set aside: start the host, or put a backup in its place with 'hersh host restore FILE'"
    )]
    Known(usize),
    /// There is nothing to set aside or to remove.
    #[error("there is nothing to set aside in {}: start the host", .0.display())]
    Nothing(PathBuf),
    /// A host runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal is not damaged, but can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A folder or a file can't be moved.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The engine, which may run containers of this host, does not answer.
    #[error("{0}")]
    Engine(#[from] Unavailable),
}

/// What was set aside and removed.
#[derive(Debug)]
pub struct SetAsideReport {
    /// The paths that folders of programs were moved to.
    pub folders: Vec<PathBuf>,
    /// The containers that were removed.
    pub containers: Vec<UnclaimedContainer>,
    /// The path that an unusable journal was moved to.
    pub journal: Option<PathBuf>,
}

/// Sets aside the folders of programs that the journal at `home`, such as a data folder, does not know.
/// Removes their containers from the engine behind the socket `engine`, so that the next host begins anew
/// there. No host may run on the folder. A journal that is whole stays, with its users and tokens.
///
/// # Errors
/// [`SetAsideError`].
pub async fn set_aside(
    home: impl Into<Home>,
    engine: &Path,
    now_ms: u64,
) -> Result<SetAsideReport, SetAsideError> {
    let home = home.into();
    let data = home.data();
    if !data.is_dir() {
        return Err(SetAsideError::Missing(data.to_owned()));
    }
    // Locked before the folder is opened: opening it takes source that is just coming in for leftovers.
    let _lock = DataLock::take(data)?;
    home.check()?;
    home.make()
        .map_err(StorageError::at("make", home.folder()))?;
    let _journal_lock = home.lock()?;
    let storage = Storage::open(data)?;
    let is_lost = is_lost(&home)?;
    let containers = hersh_docker::unclaimed_containers(engine, &storage.programs_dir()).await?;
    let programs = storage.programs()?;
    for container in &containers {
        hersh_docker::remove_unclaimed(engine, container).await?;
    }
    let mut folders = Vec::new();
    for program in &programs {
        folders.push(storage.set_aside(program, now_ms)?);
    }
    let journal = match is_lost {
        true => set_file_aside(&home.file(), now_ms)?,
        false => None,
    };
    if folders.is_empty() && containers.is_empty() && journal.is_none() {
        return Err(SetAsideError::Nothing(data.to_owned()));
    }
    if is_lost {
        keep_host_id(&home, &containers).await?;
    }
    Ok(SetAsideReport {
        folders,
        containers,
        journal,
    })
}

/// Returns true if the journal is gone or damaged, false if it is whole and knows no program.
fn is_lost(home: &Home) -> Result<bool, SetAsideError> {
    if EmptyJournal::of_file(home) == Some(EmptyJournal::Nothing) {
        return Ok(true);
    }
    match Journal::open(&home.file()) {
        Ok(journal) => match journal.load()?.len() {
            0 => Ok(false),
            known => Err(SetAsideError::Known(known)),
        },
        Err(OpenError::Damaged { .. }) => Ok(true),
        Err(
            error @ (OpenError::Sqlite { .. }
            | OpenError::TooNew { .. }
            | OpenError::Unfit { .. }
            | OpenError::Elsewhere { .. }
            | OpenError::Thread(_)),
        ) => Err(error.into()),
    }
}

/// Gives the new journal the host id that all containers tell: images and networks on the engine have it too,
/// and the new host will collect them.
async fn keep_host_id(home: &Home, containers: &[UnclaimedContainer]) -> Result<(), SetAsideError> {
    let mut ids: Vec<&str> = containers.iter().map(|it| it.host_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let [id] = ids[..] else {
        return Ok(());
    };
    let journal = Journal::open(&home.file())?;
    journal.set_meta(META_HOST_ID, id.to_owned()).await?;
    Ok(())
}
