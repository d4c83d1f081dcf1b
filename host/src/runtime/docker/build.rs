//! Builds. The engine's classic builder: every engine since 20.10 has it, a closed connection ends
//! it, and its steps can be told from all other containers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion, ListContainersOptions};
use futures_util::StreamExt;
use hersh_program::{ImageId, ProgramId};
use tokio_util::sync::CancellationToken;

use super::{Inner, engine::Fault, image_tag, remove};
use crate::{
    compose::{HOST_LABEL, PROGRAM_LABEL},
    runtime::{BuildError, BuildLog, BuildRequest, StopError, Unavailable},
    storage::tar_stream,
};

/// Builds end by cancellation, never by a limit on one request.
const NO_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A cancelled build is over when this many looks, a round apart, found none of its containers.
const QUIET_ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(200);
/// From then on something is wrong: about half a minute.
const MAX_ROUNDS: u32 = 150;

pub(super) async fn build(
    inner: Arc<Inner>,
    request: BuildRequest,
    cancel: CancellationToken,
) -> Result<ImageId, BuildError> {
    if let Some(image) = inner.built(&request.program, &request.build).await? {
        return Ok(image);
    }
    let mut log = BuildLog::create(&request.log_path).map_err(|error| BuildError::Files {
        message: format!("{}: {error}", request.log_path.display()),
    })?;
    let result = tokio::select! {
        result = follow(&inner, &request, &mut log) => result,
        () = cancel.cancelled() => Err(BuildError::Cancelled),
        () = request.cancel.cancelled() => Err(BuildError::Cancelled),
    };
    if matches!(result, Err(BuildError::Cancelled)) {
        // The connection is closed by now and the engine ends the build by itself, some time later.
        if let Err(error) = remove_steps(&inner, &request.program).await {
            tracing::warn!(%error, program = %request.program, "a container of a cancelled build may be left");
        }
    }
    if result.is_ok() {
        // Nothing runs while a program is built, so no container needs an older image.
        let pruned = inner
            .remove_images(&request.program, Some(&request.build))
            .await;
        if let Err(error) = pruned {
            tracing::warn!(%error, program = %request.program, "older images stay until the next build");
        }
    }
    let result = result.map_err(|error| with_tail(error, &log));
    if let Err(error) = log.finish() {
        tracing::warn!(%error, program = %request.program, "the end of a build's log is not kept");
    }
    result
}

/// Sends the tree and reads what the builder says until it is done.
async fn follow(
    inner: &Inner,
    request: &BuildRequest,
    log: &mut BuildLog,
) -> Result<ImageId, BuildError> {
    let client = inner.engine.client().await?.with_timeout(NO_LIMIT);
    let context = bollard::body_try_stream(tar_stream(request.context_dir.clone()));
    let mut said = std::pin::pin!(client.build_image(options(inner, request), None, Some(context)));
    while let Some(said) = said.next().await {
        let said = said.map_err(|error| refused(inner.engine.fault(&error)))?;
        let Some(text) = said.stream else { continue };
        log.write(&text).map_err(|error| BuildError::Files {
            message: format!("{}: {error}", request.log_path.display()),
        })?;
    }
    inner
        .built(&request.program, &request.build)
        .await?
        .ok_or_else(|| BuildError::Failed {
            message: "the builder ended without an image and without a reason".to_owned(),
            logs: Vec::new(),
        })
}

fn options(inner: &Inner, request: &BuildRequest) -> BuildImageOptions {
    let labels = [
        (PROGRAM_LABEL, request.program.as_str()),
        (HOST_LABEL, inner.config.host_id.as_str()),
    ];
    let memory_bytes = i32::try_from(inner.config.build_memory_bytes).unwrap_or(i32::MAX);
    BuildImageOptions {
        dockerfile: "Dockerfile".to_owned(),
        t: Some(image_tag(
            &inner.config.host_id,
            &request.program,
            &request.build,
        )),
        labels: Some(HashMap::from(
            labels.map(|(key, value)| (key.to_owned(), value.to_owned())),
        )),
        rm: true,
        forcerm: true,
        memory: Some(memory_bytes),
        memswap: Some(memory_bytes),
        networkmode: Some("none".to_owned()),
        extrahosts: Some(marker(inner, &request.program)),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    }
}

/// The engine gives the containers of a build no label that a client could choose, but it does
/// give them this entry of the hosts file: it tells whose a container is.
fn marker(inner: &Inner, program: &ProgramId) -> String {
    let host = &inner.config.host_id;
    format!("hersh-build-{program}.{host}:127.0.0.1")
}

/// Removes the containers of an ended build of the program until none appears any more: the engine
/// may be about to create one when the connection closes.
async fn remove_steps(inner: &Inner, program: &ProgramId) -> Result<(), StopError> {
    let marker = marker(inner, program);
    let mut quiet = 0;
    for _round in 0..MAX_ROUNDS {
        let found = steps(inner, &marker).await?;
        for container in &found {
            remove::force(inner, container).await?;
        }
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_ROUNDS {
            return Ok(());
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(StopError::Failed {
        message: format!("a cancelled build of {program} goes on in the engine"),
    })
}

async fn steps(inner: &Inner, marker: &str) -> Result<Vec<String>, Unavailable> {
    let client = inner.engine.client().await?;
    let options = ListContainersOptions {
        all: true,
        ..ListContainersOptions::default()
    };
    let containers = client
        .list_containers(Some(options))
        .await
        .map_err(|error| inner.engine.fault(&error).into_unavailable())?;
    let mut found = Vec::new();
    for id in containers.into_iter().filter_map(|container| container.id) {
        // One that is gone meanwhile needs no removal.
        let Ok(inspected) = client.inspect_container(&id, None).await else {
            continue;
        };
        let hosts = inspected.host_config.and_then(|config| config.extra_hosts);
        if hosts.is_some_and(|hosts| hosts.iter().any(|host| host == marker)) {
            found.push(id);
        }
    }
    Ok(found)
}

fn refused(fault: Fault) -> BuildError {
    match fault.message() {
        Ok(message) => BuildError::Failed {
            message,
            logs: Vec::new(),
        },
        Err(error) => error.into(),
    }
}

fn with_tail(error: BuildError, log: &BuildLog) -> BuildError {
    match error {
        BuildError::Failed { message, .. } => BuildError::Failed {
            message,
            logs: log.tail(),
        },
        BuildError::Cancelled | BuildError::Files { .. } | BuildError::Unavailable(_) => error,
    }
}
