//! What the files of a state folder hold.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::commit::{Commit, read_commits};
use super::commit_log::head;
use super::snapshot::{self, LogName};
use super::{FolderContents, put};
use crate::StartError;

pub(super) const FILE: &str = "context.json";
pub(super) const LOGS: [&str; 2] = ["context.0.log", "context.1.log"];

/// What the files of a folder hold, and the log that the snapshot names.
type KeptInFiles = (FolderContents, Option<LogName>);

/// A file that cannot be understood.
#[derive(Debug)]
pub(super) struct UnreadableFile {
    pub(super) file: &'static str,
    pub(super) problem: String,
}

/// Reads what a folder holds.
pub(super) fn read(path: &Path, space: u64) -> Result<KeptInFiles, StartError> {
    let mut failure = None;
    let file = |name: &'static str| match fs::read(path.join(name)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                failure = Some(error);
            }
            None
        }
    };
    let files = read_files(file, space);
    if let Some(error) = failure {
        return Err(StartError::StateDir {
            path: path.into(),
            error: error.to_string(),
        });
    }
    match files {
        Ok(files) => Ok(files.unwrap_or_else(|| (FolderContents::nothing(space), None))),
        Err(UnreadableFile { file, problem }) => Err(StartError::Snapshot {
            path: path.join(file),
            message: problem,
        }),
    }
}

/// Syncs what was read.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    for name in [FILE, LOGS[0], LOGS[1]] {
        match File::open(path.join(name)) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::open(path)?.sync_all()
}

/// Reads what these files hold; `None` without a snapshot.
///
/// # Errors
/// The file that cannot be understood, and what is wrong with it.
pub(super) fn read_files(
    mut file: impl FnMut(&'static str) -> Option<Vec<u8>>,
    space: u64,
) -> Result<Option<KeptInFiles>, UnreadableFile> {
    let unreadable = |file, problem| UnreadableFile { file, problem };
    let Some(bytes) = file(FILE) else {
        // A crash in the very first commit leaves a log with nothing but its head.
        let has_commits = |bytes: Vec<u8>| bytes.len() > head(&"0".repeat(16)).len();
        return match LOGS
            .into_iter()
            .find(|log| file(log).is_some_and(has_commits))
        {
            None => Ok(None),
            Some(log) => Err(unreadable(
                FILE,
                format!(
                    "it is missing, and {log} goes on with it: put it back, or remove {log} to begin anew"
                ),
            )),
        };
    };
    let (mut kept, log) =
        snapshot::decode(&bytes, space).map_err(|problem| unreadable(FILE, problem))?;
    let Some(name) = log else {
        return Ok(Some((kept, None)));
    };
    let Some(log) = LOGS.get(usize::from(name.file)) else {
        let problem = format!("it names log {}, there are 0 and 1", name.file);
        return Err(unreadable(FILE, problem));
    };
    let Some(bytes) = file(log) else {
        let problem = format!("it is missing, and {FILE} goes on with it: put it back");
        return Err(unreadable(log, problem));
    };
    let Some(frames) = bytes.strip_prefix(head(&name.id).as_bytes()) else {
        let problem = format!("it is not the log that {FILE} goes on with");
        return Err(unreadable(log, problem));
    };
    let commits = read_commits(frames).map_err(|problem| unreadable(log, problem))?;
    kept.apply(&commits.iter().collect::<Vec<_>>());
    Ok(Some((kept, Some(name))))
}

impl FolderContents {
    /// Applies commits.
    pub(super) fn apply(&mut self, commits: &[&Commit]) {
        for commit in commits {
            for (key, json) in commit.values.iter().cloned() {
                put(&mut self.values, key, json);
            }
            for change in commit.effects.iter().cloned() {
                self.ledger.apply(change);
            }
            for change in commit.mail.iter().cloned() {
                self.mail.apply(change);
            }
        }
    }
}
