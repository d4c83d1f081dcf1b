//! `hersh state copy`: what a program keeps in `/state`, as a tar.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use futures_util::StreamExt;
use hersh_wire::ByteSize;
use reqwest::{Method, Response};
use serde_json::json;

use crate::{
    args::{Output, StateTask},
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn state(client: &Client, task: StateTask, format: Output) -> Result<(), Failure> {
    match task {
        StateTask::Copy { program, file } => copy(client, &program, file, format).await,
    }
}

async fn copy(
    client: &Client,
    program: &str,
    file: Option<PathBuf>,
    format: Output,
) -> Result<(), Failure> {
    let segments = ["programs", program, "state", "copy"];
    if file.as_deref() == Some(Path::new("-")) {
        let answer = client.send(client.request(Method::POST, &segments)).await?;
        let failed = |error| Failure::Failed(format!("can't write: {error}"));
        return receive(answer, &mut io::stdout().lock(), failed)
            .await
            .map(drop);
    }
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{program}-state.tar")));
    let mut partial = Partial::make(&file)?;
    let answer = client.send(client.request(Method::POST, &segments)).await?;
    let bytes = receive(answer, &mut partial.file, |error| at(&file, &error)).await?;
    partial.name(&file)?;
    match format {
        Output::Json => output::json(&json!({ "file": file, "bytes": bytes })),
        Output::Table => output::line(&format!(
            "the state of {program} is in {}, {}",
            file.display(),
            String::from(ByteSize(bytes))
        )),
    }
}

/// Writes what the host sends; how much that was. An answer that is cut short is a failure.
async fn receive(
    answer: Response,
    out: &mut impl Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut pieces = answer.bytes_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Failure::Unreachable(format!(
                "the host hung up in the middle of the copy: {error}"
            ))
        })?;
        out.write_all(&piece).map_err(&failed)?;
        bytes += piece.len() as u64;
    }
    out.flush().map_err(&failed)?;
    Ok(bytes)
}

/// A file on its way in, beside the place that it will take. It goes if it does not get there.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn make(target: &Path) -> Result<Self, Failure> {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        // What a program keeps is for its owner only.
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(|error| at(&path, &error))?;
        Ok(Self { path, file })
    }

    fn name(self, target: &Path) -> Result<(), Failure> {
        self.file
            .sync_all()
            .map_err(|error| at(&self.path, &error))?;
        std::fs::rename(&self.path, target).map_err(|error| at(target, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already when it got to its place.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_takes_its_place_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("p-state.tar");
        std::fs::write(&target, "old").unwrap();
        let mut cut = Partial::make(&target).unwrap();
        cut.file.write_all(b"half").unwrap();
        drop(cut);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        let mut whole = Partial::make(&target).unwrap();
        whole.file.write_all(b"new").unwrap();
        whole.name(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        let mode = target.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
