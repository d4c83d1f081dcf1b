//! Finds the images that this host builds, and removes them when nobody needs them.
//!
//! An image belongs to this host if its name is `hersh/HOST/PROGRAM:BUILD`. The layers of a failed build
//! have no name: their label tells whose they are. Base images that the host had the engine fetch are in a
//! record. An image with a name that somebody else gave, or that a container uses, stays.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    Docker,
    models::{ImageInspect, ImageSummary},
    query_parameters::{ListImagesOptions, RemoveImageOptions},
};
use hersh_program::{BuildId, ImageId, ProgramId};

use super::{network, steps};
use crate::{
    Inner,
    engine::Fault,
    names::{LAYER_LABEL, image_tag, repository},
};
use hersh_sandbox::{CollectionCounts, Retention, StopError, Unavailable, UsedImages};

/// The most rounds of removing layers: more than the steps that an engine takes of one build, each of which
/// is a layer on that of the step before.
const LAYERS_MAX: usize = 256;

impl Inner {
    /// Removes images and layers that nobody needs, and networks of builds. See
    /// [`Builder::collect`](hersh_sandbox::Builder::collect).
    pub(crate) async fn collect(
        &self,
        in_use: &(dyn Fn() -> UsedImages + Send + Sync),
        kept: Retention,
    ) -> Result<CollectionCounts, Unavailable> {
        // A build relies on layers that have no name, and a removal could take them from it. So no build
        // begins while this lock is held, and if a build is under way, nothing is collected now.
        let Ok(_alone) = self.building.try_write() else {
            return Ok(CollectionCounts::default());
        };
        network::remove_all(self).await?;
        steps::remove_left(self).await?;
        let prefix = format!("hersh/{}/", self.config.host_id);
        let named = self.list_images([("reference", format!("{prefix}*"))]);
        let named = named.await?;
        let unnamed = self.unnamed().await?;
        // Asked last, so that the answer includes everything that became needed meanwhile.
        let in_use = in_use();
        let is_used = |image: &ImageSummary| {
            ImageId::parse(&image.id).is_ok_and(|id| in_use.images.contains(&id))
        };
        let mut collected = CollectionCounts::default();
        for image in named.iter().filter(|image| !is_used(image)) {
            let ours = image.repo_tags.iter().filter_map(|tag| {
                let (program, build) = tag.strip_prefix(&prefix)?.split_once(':')?;
                let program = ProgramId::parse(program).ok()?;
                Some((tag, (program, BuildId::parse(build).ok()?)))
            });
            for (tag, of) in ours {
                if !in_use.builds.contains(&of) {
                    collected.add("images", usize::from(self.remove_unused(tag).await?));
                }
            }
        }
        let until_s = i64::try_from(ago_ms(kept.failed_builds) / 1_000).unwrap_or(i64::MAX);
        let failed = |image: &ImageSummary| image.created <= until_s && !is_used(image);
        collected.add("layers", self.remove_layers(unnamed, failed).await?);
        for name in self.fetched.idle_since(ago_ms(kept.fetched_images)) {
            collected.add("fetched", usize::from(self.remove_fetched(&name).await?));
        }
        Ok(collected)
    }

    /// Lists the layers of this host's builds that belong to no image with a name.
    async fn unnamed(&self) -> Result<Vec<ImageSummary>, Unavailable> {
        let label = format!("{LAYER_LABEL}={}", self.config.host_id);
        self.list_images([("dangling", "true".to_owned()), ("label", label)])
            .await
    }

    /// Removes the layers for which `failed` is true, and returns how many it removed. An engine with the
    /// containerd image store removes no layer below another one, and lists a lower layer only once the
    /// upper one is gone. So the engine is asked again until a round removes nothing.
    async fn remove_layers(
        &self,
        mut listed: Vec<ImageSummary>,
        failed: impl Fn(&ImageSummary) -> bool,
    ) -> Result<usize, Unavailable> {
        let mut removed = 0;
        for _round in 0..LAYERS_MAX {
            let before = removed;
            for image in listed.iter().filter(|image| failed(image)) {
                removed += usize::from(self.remove_unused(&image.id).await?);
            }
            if removed == before {
                break;
            }
            listed = self.unnamed().await?;
        }
        Ok(removed)
    }

    /// Removes a base image that was fetched. Returns false when something uses the image.
    async fn remove_fetched(&self, name: &str) -> Result<bool, Unavailable> {
        let may_go = |image: &ImageInspect| may_go(name, image);
        let removed = match self.fetched_image(name).await? {
            Some(image) if may_go(&image) => self.remove_unused(name).await?,
            Some(_) | None => false,
        };
        let left = self.fetched_image(name).await?;
        if !left.as_ref().is_some_and(may_go)
            && let Err(error) = self.fetched.gone(name)
        {
            tracing::warn!(%error, name, "a base image that is gone is still noted");
        }
        Ok(removed)
    }

    async fn fetched_image(&self, name: &str) -> Result<Option<ImageInspect>, Unavailable> {
        let client = self.engine.client().await?;
        match client.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                absent.map(|()| None).map_err(Fault::into_unavailable)
            }
        }
    }

    async fn list_images<const N: usize>(
        &self,
        filters: [(&str, String); N],
    ) -> Result<Vec<ImageSummary>, Unavailable> {
        let filters = filters.map(|(key, value)| (key.to_owned(), vec![value]));
        let options = ListImagesOptions {
            filters: Some(HashMap::from(filters)),
            ..ListImagesOptions::default()
        };
        let ask = |client: Docker| {
            let options = options.clone();
            async move { client.list_images(Some(options)).await }
        };
        self.engine.list(ask).await
    }

    /// Removes an image by name or id, with the unnamed layers below it. Returns false when something uses
    /// the image.
    pub(super) async fn remove_unused(&self, image: &str) -> Result<bool, Unavailable> {
        let client = self.engine.client().await?;
        let removed = client.remove_image(image, None::<RemoveImageOptions>, None);
        match removed.await {
            Ok(_) => Ok(true),
            Err(error) => match self.engine.fault(&error) {
                Fault::Unavailable(error) => Err(error),
                Fault::NotFound(_) | Fault::Conflict(_) => Ok(false),
                Fault::Refused(message) => {
                    tracing::warn!(image, message, "an image that nobody needs stays");
                    Ok(false)
                }
            },
        }
    }

    pub(crate) async fn built(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> Result<Option<ImageId>, Unavailable> {
        let client = self.engine.client().await?;
        match client
            .inspect_image(&image_tag(&self.config.host_id, program, build))
            .await
        {
            Ok(image) => Ok(image.id.and_then(|id| ImageId::parse(&id).ok())),
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                absent.map(|()| None).map_err(Fault::into_unavailable)
            }
        }
    }

    /// Removes the program's images.
    pub(crate) async fn remove_images(&self, program: &ProgramId) -> Result<(), StopError> {
        let client = self.engine.client().await?;
        let refuse = |error| match self.engine.fault(&error).message() {
            Ok(message) => StopError::Failed {
                message: format!("the images of {program} could not be removed: {message}"),
            },
            Err(error) => error.into(),
        };
        let repository = repository(&self.config.host_id, program);
        let images = self
            .list_images([("reference", repository.clone())])
            .await?;
        let prefix = format!("{repository}:");
        let tags = images.into_iter().flat_map(|image| image.repo_tags);
        for tag in tags.filter(|tag| tag.starts_with(&prefix)) {
            let options = RemoveImageOptions {
                force: true,
                ..RemoveImageOptions::default()
            };
            if let Err(error) = client.remove_image(&tag, Some(options), None).await
                && !matches!(self.engine.fault(&error), Fault::NotFound(_))
            {
                return Err(refuse(error));
            }
        }
        Ok(())
    }
}

/// Returns whether an image that was noted as `noted` may be removed. An image that lost its name to a
/// newer one is noted by its id. If such an image has another name, it stays: a removal by id would take
/// that name away, and that name was given by somebody or is noted itself.
fn may_go(noted: &str, image: &ImageInspect) -> bool {
    let is_id = image.id.as_deref() == Some(noted);
    !is_id || image.repo_tags.as_ref().is_none_or(Vec::is_empty)
}

/// Returns the time before now by `span`, in milliseconds since the Unix epoch.
pub(super) fn ago_ms(span: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(span);
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_noted_by_id_goes_only_while_it_has_no_name() {
        let id = format!("sha256:{}", "a".repeat(64));
        let image = |tags: Option<&[&str]>| ImageInspect {
            id: Some(id.clone()),
            repo_tags: tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect()),
            ..ImageInspect::default()
        };
        for (noted, tags, expected) in [
            (id.as_str(), None, true),
            (&id, Some(&[][..]), true),
            (&id, Some(&["mine:1"][..]), false),
            (&id, Some(&["mine:1", "base:1"][..]), false),
            ("base:1", Some(&["base:1"][..]), true),
            ("base:1", Some(&["base:1", "mine:1"][..]), true),
        ] {
            assert_eq!(may_go(noted, &image(tags)), expected, "{noted} {tags:?}");
        }
    }
}
