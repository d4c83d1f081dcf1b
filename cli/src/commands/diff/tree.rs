//! A source tree as the host hands it back, as much of it as a comparison needs.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use futures_util::TryStreamExt;
use hersh_wire::{SOURCE_BYTES_MAX, SOURCE_ENTRIES_MAX};
use reqwest::Response;
use sha2::{Digest, Sha256};
use tar::Archive;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::failure::Failure;

/// The largest file whose lines are compared, bytes.
const TEXT_BYTES_MAX: u64 = 256 * 1024;
/// The most bytes of texts that are kept of one tree.
const TEXTS_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most bytes of one tree's archive: its files, and what a tar says of each entry.
const ARCHIVE_BYTES_MAX: u64 = SOURCE_BYTES_MAX + SOURCE_ENTRIES_MAX * 8 * 1024;

/// The entries of a tree by their paths, without its folders.
pub(super) type Tree = BTreeMap<String, Node>;

/// One file or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// What stands there: the digest of a file, or the target of a link.
    pub(super) content: Content,
    /// The permissions.
    pub(super) mode: u32,
    /// The file's text, if it is one and small enough to be compared by lines.
    pub(super) text: Option<String>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    File([u8; 32]),
    Link(String),
}

/// Reads the tree in the host's answer.
///
/// # Errors
/// [`Failure`] when the answer is cut short, or is no source tree.
pub(super) async fn receive(answer: Response) -> Result<Tree, Failure> {
    let bytes = answer.bytes_stream().map_err(io::Error::other);
    let reader = SyncIoBridge::new(StreamReader::new(Box::pin(bytes)));
    let reading = tokio::task::spawn_blocking(move || read(reader));
    let read = reading.await.map_err(io::Error::other).flatten();
    read.map_err(|error| Failure::Failed(format!("the source can't be read: {error}")))
}

/// The file of settings at the root of a source tree.
const MANIFEST: &str = "hersh.toml";

fn read(archive: impl Read) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut left_bytes = TEXTS_BYTES_MAX;
    let mut archive = Archive::new(archive.take(ARCHIVE_BYTES_MAX));
    let mut entries = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        if entries > SOURCE_ENTRIES_MAX {
            return Err(io::Error::other("it has more entries than any source tree"));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Settings are compared as the host shows them, without the values of variables: those are secrets.
        if path.trim_start_matches("./") == MANIFEST {
            continue;
        }
        let mode = entry.header().mode()? & 0o7777;
        let kind = entry.header().entry_type();
        let (content, text) = if kind.is_file() || kind.is_contiguous() {
            file(&mut entry, &mut left_bytes)?
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            (Content::Link(target), None)
        } else {
            // Folders are there by what is in them; everything else is no part of a source tree.
            continue;
        };
        let node = Node {
            content,
            mode,
            text,
        };
        tree.insert(path.trim_end_matches('/').to_owned(), node);
    }
    Ok(tree)
}

fn file(
    entry: &mut tar::Entry<'_, impl Read>,
    left_bytes: &mut u64,
) -> io::Result<(Content, Option<String>)> {
    let size = entry.size();
    if size > TEXT_BYTES_MAX || size > *left_bytes {
        let mut digest = Sha256::new();
        io::copy(entry, &mut HashWriter(&mut digest))?;
        return Ok((Content::File(digest.finalize().into()), None));
    }
    *left_bytes -= size;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    let digest = Sha256::digest(&bytes).into();
    let text = String::from_utf8(bytes).ok();
    let text = text.filter(|text| !text.contains('\0'));
    Ok((Content::File(digest), text))
}

/// Takes bytes into a digest.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o100_644);
            archive.append_data(&mut header, path, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn only_small_texts_are_kept_and_all_files_are_known() {
        let large = vec![b'a'; usize::try_from(TEXT_BYTES_MAX).unwrap() + 1];
        let files: [(&str, &[u8]); 4] = [
            ("Dockerfile", b"FROM scratch\n"),
            ("src/bytes", b"a\0b"),
            ("src/latin", b"\xfc"),
            ("src/large", &large),
        ];
        let tree = read(archive(&files).as_slice()).unwrap();
        let texts: Vec<(&str, bool)> = tree
            .iter()
            .map(|(path, node)| (path.as_str(), node.text.is_some()))
            .collect();
        let expected = [
            ("Dockerfile", true),
            ("src/bytes", false),
            ("src/large", false),
            ("src/latin", false),
        ];
        assert_eq!(texts, expected);
        let digest = Sha256::digest(&large).into();
        assert_eq!(tree["src/large"].content, Content::File(digest));
        assert_eq!(tree["Dockerfile"].mode, 0o644);
    }

    #[test]
    fn an_archive_that_is_cut_short_is_refused() {
        let whole = archive(&[("a", &[1; 4_096])]);
        assert!(read(&whole[..2_000]).is_err());
    }
}
