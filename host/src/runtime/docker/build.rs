//! Builds. The engine's classic builder: every engine since 20.10 has it, a closed connection ends
//! it, and it names each container that it runs.

use std::{collections::BTreeSet, collections::HashMap, sync::Arc, time::Duration};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt;
use hersh_program::ImageId;
use tokio_util::sync::CancellationToken;

use super::{Inner, context, engine::Fault, image_tag, remove};
use crate::{
    compose::{HOST_LABEL, PROGRAM_LABEL},
    runtime::{BuildError, BuildLog, BuildRequest, StopError},
};

/// Builds end by cancellation, never by a limit on one request.
const NO_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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
    let mut running = BTreeSet::new();
    let result = tokio::select! {
        result = follow(&inner, &request, &mut log, &mut running) => result,
        () = cancel.cancelled() => Err(BuildError::Cancelled),
        () = request.cancel.cancelled() => Err(BuildError::Cancelled),
    };
    if result.is_err() {
        // The connection is closed by now and the engine ends the build by itself; what it was
        // running at that moment is removed here, so that the build is gone when this returns.
        for container in &running {
            if let Err(error) = remove_step(&inner, &request, container).await {
                tracing::warn!(%error, container, "a container of an ended build may be left");
            }
        }
    }
    let result = result.map_err(|error| with_tail(error, &log));
    log.finish().map_err(|error| BuildError::Files {
        message: format!("{}: {error}", request.log_path.display()),
    })?;
    result
}

/// Sends the tree and reads what the builder says until it is done. `running` holds the containers
/// that it runs at any moment.
async fn follow(
    inner: &Inner,
    request: &BuildRequest,
    log: &mut BuildLog,
    running: &mut BTreeSet<String>,
) -> Result<ImageId, BuildError> {
    let client = inner.engine.client().await?.with_timeout(NO_LIMIT);
    let context = bollard::body_try_stream(context::stream(request.context_dir.clone()));
    let mut said = std::pin::pin!(client.build_image(options(inner, request), None, Some(context)));
    while let Some(said) = said.next().await {
        let said = said.map_err(|error| refused(inner.engine.fault(&error)))?;
        let Some(text) = said.stream else { continue };
        note_containers(&text, running);
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
        t: Some(image_tag(&request.program, &request.build)),
        labels: Some(HashMap::from(
            labels.map(|(key, value)| (key.to_owned(), value.to_owned())),
        )),
        rm: true,
        forcerm: true,
        memory: Some(memory_bytes),
        memswap: Some(memory_bytes),
        networkmode: Some("none".to_owned()),
        extrahosts: Some(marker(inner, request)),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    }
}

/// The engine gives the containers of a build no label that a client could choose, but it does
/// give them this entry of the hosts file. A Dockerfile can print any text, also one that looks
/// like the builder's: the entry tells that a container is of this build.
fn marker(inner: &Inner, request: &BuildRequest) -> String {
    let host = &inner.config.host_id;
    format!("hersh-build-{}.{host}:127.0.0.1", request.program)
}

async fn remove_step(
    inner: &Inner,
    request: &BuildRequest,
    container: &str,
) -> Result<(), StopError> {
    let client = inner.engine.client().await?;
    let inspected = match client.inspect_container(container, None).await {
        Ok(inspected) => inspected,
        Err(error) => {
            return match inner.engine.fault(&error) {
                Fault::NotFound(_) => Ok(()),
                Fault::Unavailable(error) => Err(error.into()),
                Fault::Conflict(message) | Fault::Refused(message) => {
                    Err(StopError::Failed { message })
                }
            };
        }
    };
    let hosts = inspected.host_config.and_then(|config| config.extra_hosts);
    if hosts.is_some_and(|hosts| hosts.contains(&marker(inner, request))) {
        remove::force(inner, container).await
    } else {
        Ok(())
    }
}

/// The classic builder says ` ---> Running in 0123456789ab` and
/// `Removing intermediate container 0123456789ab`.
fn note_containers(text: &str, running: &mut BTreeSet<String>) {
    for line in text.lines() {
        if let Some(id) = line.trim().strip_prefix("---> Running in ") {
            if is_short_id(id) {
                running.insert(id.to_owned());
            }
        } else if let Some(id) = line.trim().strip_prefix("Removing intermediate container ") {
            running.remove(id);
        }
    }
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
