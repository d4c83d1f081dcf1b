//! Adds the entry for the user that every program runs as to `/etc/passwd` and `/etc/group` of an image, as
//! one more layer.
//!
//! ```text
//! image without a name ─► a container that never starts: read both files ─► FROM image, COPY ─► named
//! ```
//!
//! The image gets its name last, so that no image with a name has a layer that was not tried. Nothing of
//! the image runs. Only plain files in a plain `/etc` are replaced: a hostile image can have links there
//! that lead anywhere.

use bollard::query_parameters::{
    BuildImageOptions, BuilderVersion, RemoveImageOptions, TagImageOptions,
};
use futures_util::StreamExt;
use hersh_program::ImageId;

use super::{
    ATTEMPTS_MAX, is_of_a_removal, steps,
    user_files::{EntryError, LIMIT, MergedFile, failed},
    view_container::ViewContainer,
};
use crate::{Inner, doctor::trial, names::repository};
use hersh_sandbox::{BuildRequest, Unavailable};

/// The mode of a file that the image did not have.
const MODE: u32 = 0o644;

/// Adds the entry to a built image that lacks it, and gives the image its name. If the entry can't be
/// added, the image gets its name without the entry.
///
/// # Errors
/// [`Unavailable`] when the engine does not answer, or does not name the image.
pub(crate) async fn complete(
    inner: &Inner,
    request: &BuildRequest,
    image: ImageId,
) -> Result<ImageId, Unavailable> {
    let image = match add(inner, request, &image).await {
        Ok(with_layer) => with_layer.unwrap_or(image),
        Err(EntryError::Unavailable(error)) => return Err(error),
        Err(error @ (EntryError::Failed { .. } | EntryError::Late)) => {
            tracing::warn!(%error, program = %request.program, "the user of the program has no entry in /etc/passwd");
            image
        }
    };
    let client = inner.engine.client().await?;
    let options = TagImageOptions {
        repo: Some(repository(&inner.config.host_id, &request.program)),
        tag: Some(request.build.to_string()),
    };
    client
        .tag_image(image.as_str(), Some(options))
        .await
        .map_err(|error| inner.engine.fault(&error).into_unavailable())?;
    Ok(image)
}

/// Returns the image with one more layer; `None` when it needs no layer.
async fn add(
    inner: &Inner,
    request: &BuildRequest,
    image: &ImageId,
) -> Result<Option<ImageId>, EntryError> {
    let files = lacking(inner, request, image).await?;
    if files.is_empty() {
        return Ok(None);
    }
    let mut attempt = 1;
    let layer = loop {
        match within(add_layer(inner, request, image, &files)).await {
            Err(EntryError::Failed { message })
                if attempt < ATTEMPTS_MAX && is_of_a_removal(&message) =>
            {
                attempt += 1;
            }
            result => break result?,
        }
    };
    // If the image has a link as /etc, a container shows a folder there, and the copy went behind the link.
    if files.iter().all(|file| file.mode.is_none())
        && !lacking(inner, request, &layer).await?.is_empty()
    {
        drop_layer(inner, &layer).await;
        return Ok(None);
    }
    Ok(Some(layer))
}

/// Removes a layer, but not the image below it, which has no name yet either. A layer that can't be removed
/// now is collected later.
async fn drop_layer(inner: &Inner, layer: &ImageId) {
    let options = RemoveImageOptions {
        noprune: true,
        ..RemoveImageOptions::default()
    };
    let Ok(client) = inner.engine.client().await else {
        return;
    };
    if let Err(error) = client
        .remove_image(layer.as_str(), Some(options), None)
        .await
    {
        tracing::warn!(%error, %layer, "a layer stays until it is collected");
    }
}

pub(super) async fn within<T>(
    work: impl Future<Output = Result<T, EntryError>>,
) -> Result<T, EntryError> {
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or(Err(EntryError::Late))
}

/// Returns the files that lack the entry, with the entry added.
async fn lacking(
    inner: &Inner,
    request: &BuildRequest,
    image: &ImageId,
) -> Result<Vec<MergedFile>, EntryError> {
    let view = ViewContainer::of(inner, &request.program, image.as_str()).await?;
    let found = within(view.look().lacking()).await;
    view.remove().await.and(found)
}

/// Builds an image with the layer.
async fn add_layer(
    inner: &Inner,
    request: &BuildRequest,
    image: &ImageId,
    files: &[MergedFile],
) -> Result<ImageId, EntryError> {
    let names: Vec<&str> = files.iter().map(|it| it.accounts.file()).collect();
    // The layer inherits the image's labels, and with them it counts as one of the build.
    let dockerfile = format!("FROM {image}\nCOPY {} /etc/\n", names.join(" "));
    let mut tree = vec![("Dockerfile", MODE, dockerfile.as_bytes())];
    tree.extend(files.iter().map(|it| {
        (
            it.accounts.file(),
            it.mode.unwrap_or(MODE),
            it.content.as_slice(),
        )
    }));
    let tree = trial::tree(&tree).map_err(|error| EntryError::Failed {
        message: error.to_string(),
    })?;
    let options = BuildImageOptions {
        dockerfile: "Dockerfile".to_owned(),
        rm: true,
        forcerm: true,
        networkmode: Some("none".to_owned()),
        extrahosts: Some(steps::marker(inner, &request.program)),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    };
    let client = inner.engine.client().await?;
    let mut said =
        std::pin::pin!(client.build_image(options, None, Some(bollard::body_full(tree))));
    let mut layer = None;
    while let Some(said) = said.next().await {
        let said = said.map_err(|error| failed(inner.engine.fault(&error)))?;
        layer = said.aux.and_then(|aux| aux.id).or(layer);
    }
    let layer = layer.and_then(|id| ImageId::parse(&id).ok());
    layer.ok_or_else(|| EntryError::Failed {
        message: "the builder ended without an image and without a reason".to_owned(),
    })
}
