//! Fetches base images through the engine.

use std::{sync::Arc, time::Duration};

use bollard::{models::ImageInspect, query_parameters::CreateImageOptions};
use futures_util::StreamExt;
use hersh_storage::StorageError;

use super::{REQUEST_TIMEOUT, fetched_images::FetchedImages, images::ago_ms, registry};
use crate::{Inner, engine::Fault};
use hersh_sandbox::BuildError;

/// Whether an image has to be fetched, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The image is there.
    Nothing,
    /// A newer image is asked for, but a person put the present one on the engine. A build must not replace
    /// it for everybody.
    NotOurs,
    /// The image is not there, or a newer one is asked for.
    Fetch,
}

/// Returns whether `name`, for which the engine has the image `found`, has to be fetched. `pull` asks for
/// the newest image.
pub(super) fn need(inner: &Inner, name: &str, found: Option<&ImageInspect>, pull: bool) -> Need {
    match (found, pull) {
        (None, _) => Need::Fetch,
        (Some(_), false) => Need::Nothing,
        (Some(_), true) if inner.fetched.knows(name) => Need::Fetch,
        (Some(_), true) => Need::NotOurs,
    }
}

/// Notes that an image is built from `name`.
pub(super) async fn used(inner: &Inner, name: &str) -> Result<(), BuildError> {
    let (name, now_ms) = (name.to_owned(), ago_ms(Duration::ZERO));
    note(inner, move |fetched| fetched.used(&name, now_ms)).await
}

/// Notes `name`, fetches it, and returns the image that has the name now. The new image replaces `older`,
/// which is noted, too, and removed some time later: another build may be about to use it.
pub(super) async fn fetch(
    inner: &Inner,
    name: &str,
    older: Option<String>,
) -> Result<Option<ImageInspect>, BuildError> {
    let now_ms = ago_ms(Duration::ZERO);
    let names = [Some(name.to_owned()), older.clone()];
    note(inner, move |fetched| {
        let mut names = names.iter().flatten();
        names.try_for_each(|name| fetched.add(name, now_ms))
    })
    .await?;
    let pulled = pull(inner, name).await;
    let current = find(inner, name).await?;
    let is_replaced = current.as_ref().is_none_or(|image| image.id != older);
    if let Some(older) = older.filter(|_| !is_replaced) {
        note(inner, move |fetched| fetched.gone(&older)).await?;
    }
    pulled.map(|()| current)
}

/// Changes the record of what was fetched.
async fn note(
    inner: &Inner,
    change: impl FnOnce(&FetchedImages) -> Result<(), StorageError> + Send + 'static,
) -> Result<(), BuildError> {
    let fetched = Arc::clone(&inner.fetched);
    let noted = tokio::task::spawn_blocking(move || change(&fetched)).await;
    let files = |message| BuildError::Files { message };
    noted
        .map_err(|error| files(error.to_string()))?
        .map_err(|error| files(error.to_string()))
}

async fn pull(inner: &Inner, name: &str) -> Result<(), BuildError> {
    let client = inner.engine.client().await?.with_timeout(REQUEST_TIMEOUT);
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
            Fault::NotFound(said) | Fault::Conflict(said) | Fault::Refused(said) => {
                let message = format!("{name} could not be fetched: {said}");
                let logs = Vec::new();
                match registry::is_unreachable(&said.replace(name, "")) {
                    true => BuildError::RegistryUnavailable { message, logs },
                    false => BuildError::Failed { message, logs },
                }
            }
        })?;
    }
    Ok(())
}

/// Returns the image that the engine has under that name.
pub(super) async fn find(inner: &Inner, name: &str) -> Result<Option<ImageInspect>, BuildError> {
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

pub(super) fn refused(fault: Fault) -> BuildError {
    match fault.message() {
        Ok(message) => failed(message),
        Err(error) => error.into(),
    }
}

pub(super) fn failed(message: String) -> BuildError {
    BuildError::Failed {
        message,
        logs: Vec::new(),
    }
}
