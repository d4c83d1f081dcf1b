//! Reads the files of an image that name users and groups.

use std::{io::Read, time::Duration};

use bollard::{
    Docker,
    query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions},
};
use futures_util::StreamExt;

use super::accounts::{Accounts, FILE_BYTES_MAX};
use crate::{Inner, engine::Fault};
use hersh_sandbox::Unavailable;

/// How long reading both files, or adding the layer, may take. After that, the image gets no entry.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// The most that is read of the engine's archive of one file: headers, file and padding.
const ARCHIVE_BYTES_MAX: usize = FILE_BYTES_MAX + 32 * 1024;
/// Bits of the mode in the engine's answers, which are those of the language Go: the bit of a folder, and
/// all bits that mark anything else than a plain file.
const IS_FOLDER: u32 = 1 << 31;
const IS_LINK: u32 = 1 << 27;
const KINDS: u32 = IS_FOLDER | IS_LINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

/// Why an image gets no entry, or no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    #[error("{message}")]
    Failed { message: String },
    #[error("the engine took longer than {} s", LIMIT.as_secs())]
    Late,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A file with the entry added, for the new layer.
pub(super) struct MergedFile {
    pub(super) accounts: Accounts,
    /// The mode that the file had, if the image had the file.
    pub(super) mode: Option<u32>,
    pub(super) content: Vec<u8>,
}

/// A view into a container that never runs, so its files stay as they were seen.
pub(super) struct FilesView<'a> {
    pub(super) inner: &'a Inner,
    pub(super) client: &'a Docker,
    pub(super) container: &'a str,
}

/// The kinds of things that can be at a path of an image.
pub(super) enum FileKind {
    Nothing,
    Folder,
    Plain {
        mode: u32,
    },
    /// A link, with its final target.
    Link(String),
    /// A device, a pipe or a socket.
    Other,
}

impl FilesView<'_> {
    /// Returns the files that lack the entry, with the entry added.
    pub(super) async fn lacking(&self) -> Result<Vec<MergedFile>, EntryError> {
        match self.seen("/etc").await? {
            FileKind::Nothing | FileKind::Folder => {}
            FileKind::Plain { .. } | FileKind::Link(_) | FileKind::Other => return Ok(Vec::new()),
        }
        let mut lacking = Vec::new();
        for accounts in [Accounts::Users, Accounts::Groups] {
            let path = format!("/etc/{}", accounts.file());
            let (mode, content) = match self.seen(&path).await? {
                FileKind::Nothing => (None, Some(Vec::new())),
                FileKind::Plain { mode } => (Some(mode), self.content(path).await?),
                FileKind::Folder | FileKind::Link(_) | FileKind::Other => continue,
            };
            let merged = content.and_then(|content| accounts.with_entry(&content));
            lacking.extend(merged.map(|content| MergedFile {
                accounts,
                mode,
                content,
            }));
        }
        Ok(lacking)
    }

    /// Returns what is at that path itself. A link is not followed.
    pub(super) async fn seen(&self, path: &str) -> Result<FileKind, EntryError> {
        let options = ContainerArchiveInfoOptions { path: path.into() };
        let answer = self
            .client
            .get_container_archive_info(self.container, Some(options));
        match answer.await {
            Ok(found) if found.file_mode & KINDS == 0 => Ok(FileKind::Plain {
                mode: found.file_mode & 0o777,
            }),
            Ok(found) if found.file_mode & KINDS == IS_FOLDER => Ok(FileKind::Folder),
            Ok(found) if found.file_mode & KINDS == IS_LINK => {
                Ok(FileKind::Link(found.link_target))
            }
            Ok(_found) => Ok(FileKind::Other),
            Err(error) => match self.inner.engine.fault(&error) {
                Fault::NotFound(_) => Ok(FileKind::Nothing),
                fault @ (Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_)) => {
                    Err(failed(fault))
                }
            },
        }
    }

    /// Returns the content of a file; `None` when the file is too large.
    async fn content(&self, path: String) -> Result<Option<Vec<u8>>, EntryError> {
        let options = DownloadFromContainerOptions { path };
        let pieces = self
            .client
            .download_from_container(self.container, Some(options));
        let mut pieces = std::pin::pin!(pieces);
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| failed(self.inner.engine.fault(&error)))?;
            if bytes.len() + piece.len() > ARCHIVE_BYTES_MAX {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
        let not_read = |error: std::io::Error| EntryError::Failed {
            message: format!("the engine's archive can't be read: {error}"),
        };
        only_file(&bytes).map_err(not_read)
    }
}

/// Returns the content of the plain file with which an archive begins; `None` if there is none or it is too
/// large.
fn only_file(archive: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(archive);
    let Some(file) = archive.entries()?.next().transpose()? else {
        return Ok(None);
    };
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    if !file.header().entry_type().is_file() || file.size() > limit {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(Some(content))
}

pub(super) fn failed(fault: Fault) -> EntryError {
    match fault.message() {
        Ok(message) => EntryError::Failed { message },
        Err(error) => error.into(),
    }
}
