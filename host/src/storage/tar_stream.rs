//! A source tree as a tar stream, never whole in memory.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

/// How many pieces wait for the engine to take them.
const PIECES: usize = 8;
/// The size of a piece, bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What an engine reads for patterns, each of which it makes into a program of its own before the
/// build begins: without bound, and a person's client would have kept to them before.
const IGNORE_FILE: &str = ".dockerignore";

/// Streams the tree below `root`: as it is, or for a build, with `dockerfile` for its own and without
/// a `.dockerignore`. The same tree gives the same bytes: no times, no owners, sorted.
/// A failure to read ends the stream with an error, which ends the build. A thread waits for who
/// takes the stream, however slow; `held` is dropped when it is done.
pub(crate) fn tar_stream(
    root: PathBuf,
    dockerfile: Option<String>,
    held: impl Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces {
            sender: sender.clone(),
            piece: Vec::with_capacity(PIECE_BYTES),
        };
        if let Err(error) =
            write_tree(&root, dockerfile.as_deref(), &mut pieces).and_then(|()| pieces.flush())
        {
            // When nobody receives any more, the build is over.
            let _ = sender.blocking_send(Err(error));
        }
        drop(held);
    });
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

fn write_tree(root: &Path, dockerfile: Option<&str>, out: &mut Pieces) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    // Folders still to be read. Bounded: stored trees have a bounded number of entries.
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let mut names = fs::read_dir(root.join(&folder))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let path = folder.join(name);
            if dockerfile.is_some() && path == Path::new(IGNORE_FILE) {
                continue;
            }
            let place = root.join(&path);
            let metadata = fs::symlink_metadata(&place)?;
            let mut header = tar::Header::new_gnu();
            let replaced = dockerfile.filter(|_| path == Path::new("Dockerfile"));
            if let Some(dockerfile) = replaced {
                header.set_mode(0o644);
                header.set_size(dockerfile.len() as u64);
                archive.append_data(&mut header, &path, dockerfile.as_bytes())?;
            } else if metadata.is_dir() {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, path.join(""), io::empty())?;
                waiting.push(path);
            } else if metadata.is_symlink() {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, &path, fs::read_link(&place)?)?;
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(if executable { 0o755 } else { 0o644 });
                header.set_size(metadata.len());
                archive.append_data(&mut header, &path, fs::File::open(&place)?)?;
            }
        }
    }
    archive.finish()
}

/// A writer that hands on full pieces, and waits while too many of them wait.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for &mut Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len();
        let count = room.min(bytes.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            (*self).flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

impl Pieces {
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender
            .blocking_send(Ok(full.into()))
            .map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn names(root: &Path, dockerfile: Option<&str>) -> Vec<String> {
        let stream = tar_stream(root.to_owned(), dockerfile.map(str::to_owned), ());
        let pieces: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        let bytes = pieces.concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap();
        let path = |entry: io::Result<tar::Entry<_>>| entry.unwrap().path().unwrap().into_owned();
        let names = entries.map(path);
        names.map(|it| it.display().to_string()).collect()
    }

    #[tokio::test]
    async fn an_engine_gets_no_patterns_and_a_person_gets_all() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["Dockerfile", "d/.dockerignore"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("d/.dockerignore", folder.path().join(IGNORE_FILE)).unwrap();
        let all = [".dockerignore", "Dockerfile", "d/", "d/.dockerignore"];
        assert_eq!(names(folder.path(), None).await, all);
        assert_eq!(names(folder.path(), Some("FROM scratch")).await, all[1..]);
    }
}
