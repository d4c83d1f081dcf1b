//! `hersh state copy`: writes a program's `/state` into a tar.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use futures_util::StreamExt;
use hersh_base::partial::{PartialFile, PartialFileError};
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
        output::refuse_terminal("a tar", &format!("hersh state copy {program} - | tar t"))?;
        let answer = client.send(client.request(Method::POST, &segments)).await?;
        let failed = |error| Failure::Failed(format!("can't write: {error}"));
        return receive(answer, &mut io::stdout().lock(), failed)
            .await
            .map(drop);
    }
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{program}-state.tar")));
    // The state of a program is for its owner only.
    let mut partial = PartialFile::beside(&file).map_err(refused)?;
    let answer = client.send(client.request(Method::POST, &segments)).await?;
    let unwritten = |error| Failure::Input(format!("{} can't be written: {error}", file.display()));
    let bytes = receive(answer, partial.file(), unwritten).await?;
    partial.rename_to_target().map_err(refused)?;
    match format {
        Output::Json => output::json(&json!({ "file": file, "bytes": bytes })),
        Output::Table => output::line(&format!(
            "the state of {program} is in {}, {}",
            file.display(),
            String::from(ByteSize(bytes))
        )),
    }
}

/// Writes the host's answer and returns its size. An answer that is cut short is a failure.
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

fn refused(error: PartialFileError) -> Failure {
    Failure::Input(error.to_string())
}
