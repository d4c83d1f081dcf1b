//! Turns a Dockerfile into the text that the engine builds: checks it, looks its images up, and names them
//! by their ids.
//!
//! An image's triggers (`ONBUILD`) would run in the build as if they stood in the Dockerfile. So an image
//! with triggers is refused as a base. An image that some host built for a program is refused as well.

use std::collections::BTreeMap;

use bollard::models::ImageInspect;
use hersh_storage::{output::BuildLog, read_inside};

use super::{
    disk_space,
    fetch::{self, failed, find, refused},
    trees::{self, TreeImages},
};
use crate::{
    Inner,
    dockerfile::{
        Base, BuildInput, DOCKERFILE_BYTES_MAX, Dockerfile, EngineDockerfile, REFUSALS_MAX,
        Refusals, is_mounted_over,
    },
};
use hersh_sandbox::{BuildError, BuildRequest};

use crate::names::{CACHE_LABEL, HOST_LABEL, INSTANCE_LABEL, LAYER_LABEL, PROGRAM_LABEL};

/// Returns the text that the engine is to build.
pub(super) async fn prepare(
    inner: &Inner,
    request: &BuildRequest,
    trees: &TreeImages,
    log: &mut BuildLog,
) -> Result<EngineDockerfile, BuildError> {
    let file = match read(request).await? {
        Ok(file) => file,
        Err(refusals) => {
            let refusals = refusals.iter();
            let refusals = refusals.map(|refused| (refused.line, refused.reason.clone()));
            return Err(told(refusals.collect(), log, request));
        }
    };
    for note in file.notes() {
        write(log, request, &note.to_string())?;
    }
    let mut refusals = trees::refusals(request, &file).await;
    refusals.extend(disk_space::refusals(request, &file).await);
    let mut bases = BTreeMap::new();
    let mut away = None;
    for (line, name) in file.images() {
        // Nothing is fetched for a build that is refused anyway.
        let may_fetch = refusals.is_empty();
        match look_up(inner, request, name, may_fetch, log).await {
            Ok(Some(base)) => {
                write(log, request, &format!("{name} is {}", base.id))?;
                bases.insert(name.to_owned(), base);
            }
            Ok(None) => {}
            Err(BuildError::Failed { message, .. }) => refusals.push((line, message)),
            Err(
                error @ (BuildError::Cancelled
                | BuildError::Files { .. }
                | BuildError::Unavailable(_)),
            ) => return Err(error),
            // Refusals count first: they last, while the registry may answer later.
            Err(error @ BuildError::RegistryUnavailable { .. }) => {
                away = away.or(Some((line, error)))
            }
        }
    }
    if !refusals.is_empty() {
        return Err(told(refusals, log, request));
    }
    if let Some((line, error)) = away {
        write(log, request, &format!("line {line}: {error}"))?;
        return Err(error);
    }
    let made = trees.make(inner, request, &file).await?;
    // The engine's cache knows neither programs nor networks. Without labels that differ, the result of one
    // program's step would be used for the same step of another program, and of the next program of the
    // same name.
    let network = if request.rules.network {
        "network"
    } else {
        "none"
    };
    let cache = format!("{}.{}.{network}", request.program, request.incarnation);
    let labels = [
        (LAYER_LABEL, inner.config.host_id.as_str()),
        (CACHE_LABEL, &cache),
    ];
    file.to_build(&bases, &made, &labels)
        .map_err(|refused| told(vec![(refused.line, refused.reason)], log, request))
}

/// Reads and checks the file that the recipe names.
async fn read(request: &BuildRequest) -> Result<Result<Dockerfile, Refusals>, BuildError> {
    let recipe = &request.rules.recipe;
    let name = request.dockerfile();
    let (root, path) = (request.context_dir.clone(), name.to_owned());
    let read =
        tokio::task::spawn_blocking(move || read_inside(&root, &path, DOCKERFILE_BYTES_MAX + 1));
    let files = |error: &dyn std::fmt::Display| BuildError::Files {
        message: format!("{name} can't be read: {error}"),
    };
    let bytes = read
        .await
        .map_err(|error| files(&error))?
        .map_err(|error| files(&error))?;
    let asked = BuildInput {
        target: recipe.target.clone(),
        args: recipe.args.clone(),
        ..BuildInput::default()
    };
    Ok(Dockerfile::read_for(&bytes, asked))
}

/// Puts all refusals into one error, and each of them on a line of the log.
fn told(
    mut refusals: Vec<(usize, String)>,
    log: &mut BuildLog,
    request: &BuildRequest,
) -> BuildError {
    refusals.sort();
    let mut message = "Dockerfile, ".to_owned();
    for (at, (line, reason)) in refusals.iter().take(REFUSALS_MAX).enumerate() {
        let between = if at == 0 { "" } else { "; and " };
        message.push_str(&format!("{between}line {line}: {reason}"));
        if let Err(error) = write(log, request, &format!("line {line}: {reason}")) {
            return error;
        }
    }
    failed(message)
}

fn write(log: &mut BuildLog, request: &BuildRequest, line: &str) -> Result<(), BuildError> {
    log.write(&format!("{line}\n"))
        .map_err(|error| BuildError::Files {
            message: format!("the log of {}: {error}", request.build),
        })
}

/// Returns a base image, fetched if necessary; `None` if it would have to be fetched and must not be.
async fn look_up(
    inner: &Inner,
    request: &BuildRequest,
    name: &str,
    may_fetch: bool,
    log: &mut BuildLog,
) -> Result<Option<Base>, BuildError> {
    let found = find(inner, name).await?;
    let image = match fetch::need(inner, name, found.as_ref(), request.rules.recipe.pull) {
        fetch::Need::Nothing => {
            fetch::used(inner, name).await?;
            found
        }
        fetch::Need::NotOurs => {
            let said = "was put on this machine by somebody and is not fetched anew";
            write(log, request, &format!("note: {name} {said}"))?;
            found
        }
        fetch::Need::Fetch => {
            inner.config.registries.check(name).map_err(failed)?;
            if !may_fetch {
                return Ok(None);
            }
            write(log, request, &format!("fetching {name}"))?;
            let older = found.and_then(|image| image.id);
            fetch::fetch(inner, name, older).await?
        }
    };
    let image = image.ok_or_else(|| failed(format!("{name} was fetched and is not there")))?;
    let history = history(inner, name).await?;
    base(name, image, history).map(Some)
}

/// Returns the length of the texts in an image's history, bytes. Every image built on it repeats these
/// texts.
async fn history(inner: &Inner, name: &str) -> Result<usize, BuildError> {
    let client = inner.engine.client().await?;
    let said = client.image_history(name).await;
    let said = said.map_err(|error| refused(inner.engine.fault(&error)))?;
    Ok(said.iter().map(|layer| layer.created_by.len()).sum())
}

/// Returns what is known of an image, if it may be built on.
fn base(name: &str, image: ImageInspect, history_bytes: usize) -> Result<Base, BuildError> {
    let config = image.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    if [HOST_LABEL, PROGRAM_LABEL, INSTANCE_LABEL, LAYER_LABEL]
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
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.sort();
    if let Some(path) = volumes.iter().find(|path| !is_mounted_over(path)) {
        return Err(failed(format!(
            "{name} has a VOLUME {path}: what a program keeps belongs in /state, and what an \
             image says of volumes can't be taken back; name an image without it"
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
        labels: labels.len(),
        other_bytes: labels
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            + history_bytes,
    })
}
