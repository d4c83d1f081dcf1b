//! What a Dockerfile becomes before the engine sees it: checked, its images looked up and named by
//! their ids.
//!
//! An image's triggers (`ONBUILD`) would run in the build as if they stood in the Dockerfile, so
//! an image with triggers is no base. Nor is one that some host built for a program.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bollard::{models::ImageInspect, query_parameters::CreateImageOptions};
use futures_util::StreamExt;

use super::{Inner, engine::Fault, fetched::Fetched, images::ago_ms};
use crate::{
    compose::{CACHE_LABEL, HOST_LABEL, LAYER_LABEL, PROGRAM_LABEL},
    dockerfile::{Base, DOCKERFILE_BYTES_MAX, Dockerfile},
    runtime::{BuildError, BuildLog, BuildRequest},
    storage::{DOCKERFILE, StorageError, read_inside},
};

/// The text that the engine is to build.
pub(super) async fn prepare(
    inner: &Inner,
    request: &BuildRequest,
    log: &mut BuildLog,
) -> Result<String, BuildError> {
    let files = |message| BuildError::Files { message };
    let context = request.context_dir.clone();
    // It may be a link, and is a stranger's: one that leads out of the tree is not followed.
    let reading = tokio::task::spawn_blocking(move || {
        read_inside(&context, DOCKERFILE, DOCKERFILE_BYTES_MAX + 1)
    });
    let bytes = reading
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| files(format!("the Dockerfile can't be read: {error}")))?;
    let file = Dockerfile::read(&bytes).map_err(|refused| failed(refused.to_string()))?;
    let mut bases = BTreeMap::new();
    for (line, name) in file.images() {
        let base = look_up(inner, name, log)
            .await
            .map_err(|error| at_line(line, error))?;
        log.write(&format!("{name} is {}\n", base.id))
            .map_err(|error| files(format!("{}: {error}", request.log_path.display())))?;
        bases.insert(name.to_owned(), base);
    }
    // The engine's cache knows neither tenant nor network: what one program's step left behind
    // would stand for the same step of another.
    let network = if request.network { "network" } else { "none" };
    let cache = format!("{}.{network}", request.program);
    let labels = [
        (LAYER_LABEL, inner.config.host_id.as_str()),
        (CACHE_LABEL, &cache),
    ];
    file.to_build(&bases, &labels)
        .map_err(|refused| failed(refused.to_string()))
}

/// A base image, fetched if need be.
async fn look_up(inner: &Inner, name: &str, log: &mut BuildLog) -> Result<Base, BuildError> {
    let (named, now_ms) = (name.to_owned(), ago_ms(Duration::ZERO));
    let image = match find(inner, name).await? {
        Some(image) => {
            note(inner, move |fetched| fetched.used(&named, now_ms)).await?;
            image
        }
        None => {
            inner.config.registries.check(name).map_err(failed)?;
            note(inner, move |fetched| fetched.add(&named, now_ms)).await?;
            // The log is for people to read; its end is written to it later in any case.
            let _ = log.write(&format!("fetching {name}\n"));
            pull(inner, name).await?;
            let found = find(inner, name).await?;
            found.ok_or_else(|| failed(format!("{name} was fetched and is not there")))?
        }
    };
    let config = image.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    if [HOST_LABEL, PROGRAM_LABEL, LAYER_LABEL]
        .iter()
        .any(|label| labels.contains_key(*label))
    {
        return Err(failed(format!(
            "{name} is the image of a program; name another"
        )));
    }
    if config.on_build.is_some_and(|triggers| !triggers.is_empty()) {
        return Err(failed(format!(
            "{name} has ONBUILD triggers, which would run unseen; name an image without them"
        )));
    }
    let variables = config.env.unwrap_or_default();
    let variables = variables
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.len()))
        .collect();
    let no_id = || failed(format!("the engine gives {name} no id"));
    Ok(Base {
        id: image.id.ok_or_else(no_id)?,
        variables,
    })
}

/// Changes the record of what was fetched.
async fn note(
    inner: &Inner,
    change: impl FnOnce(&Fetched) -> Result<(), StorageError> + Send + 'static,
) -> Result<(), BuildError> {
    let fetched = Arc::clone(&inner.fetched);
    let noted = tokio::task::spawn_blocking(move || change(&fetched)).await;
    let files = |message| BuildError::Files { message };
    noted
        .map_err(|error| files(error.to_string()))?
        .map_err(|error| files(error.to_string()))
}

async fn find(inner: &Inner, name: &str) -> Result<Option<ImageInspect>, BuildError> {
    let client = inner.engine.client().await?;
    match client.inspect_image(name).await {
        Ok(image) => Ok(Some(image)),
        Err(error) => match inner.engine.fault(&error) {
            Fault::NotFound(_) => Ok(None),
            fault @ (Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_)) => {
                Err(refused(fault))
            }
        },
    }
}

async fn pull(inner: &Inner, name: &str) -> Result<(), BuildError> {
    let client = inner
        .engine
        .client()
        .await?
        .with_timeout(super::build::NO_LIMIT);
    // Without a tag or digest an engine fetches all tags.
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    let tag = (!last.contains([':', '@'])).then(|| "latest".to_owned());
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag,
        ..CreateImageOptions::default()
    };
    let mut said = std::pin::pin!(client.create_image(Some(options), None, None));
    while let Some(said) = said.next().await {
        said.map_err(|error| match inner.engine.fault(&error) {
            Fault::Unavailable(error) => error.into(),
            Fault::NotFound(message) | Fault::Conflict(message) | Fault::Refused(message) => {
                failed(format!("{name} could not be fetched: {message}"))
            }
        })?;
    }
    Ok(())
}

fn at_line(line: usize, error: BuildError) -> BuildError {
    match error {
        BuildError::Failed { message, logs } => BuildError::Failed {
            message: format!("Dockerfile, line {line}: {message}"),
            logs,
        },
        BuildError::Cancelled | BuildError::Files { .. } | BuildError::Unavailable(_) => error,
    }
}

fn refused(fault: Fault) -> BuildError {
    match fault.message() {
        Ok(message) => failed(message),
        Err(error) => error.into(),
    }
}

fn failed(message: String) -> BuildError {
    BuildError::Failed {
        message,
        logs: Vec::new(),
    }
}
