//! What one call asks of a build, over what its manifest says.

use std::{collections::BTreeMap, sync::Arc};

use hersh_program::{Manifest, Recipe};
use hersh_wire::{Code, Manifest as Asked};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Failure;
use crate::convert;

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BuildQuery {
    /// The path of the Dockerfile in the source, over `build.dockerfile` of the manifest.
    pub(super) dockerfile: Option<String>,
    /// The stage that becomes the image, over `build.target` of the manifest.
    pub(super) target: Option<String>,
    /// Values for the Dockerfile's `ARG`s, as a JSON object of texts, over those of the manifest.
    pub(super) args: Option<String>,
    /// Fetch base images anew that the host fetched earlier, and build anew.
    #[serde(default)]
    pub(super) pull: bool,
    /// Run every step anew.
    #[serde(default)]
    pub(super) no_cache: bool,
}

impl BuildQuery {
    /// The manifest that runs, with what is asked for in the place of what `manifest` says.
    ///
    /// # Errors
    /// A [`Failure`] for values that can't be read, and for what can't be used.
    pub(super) fn manifest(self, mut manifest: Asked) -> Result<Manifest, Failure> {
        let build = &mut manifest.build;
        build.dockerfile = self.dockerfile.or(build.dockerfile.take());
        build.target = self.target.or(build.target.take());
        if let Some(args) = &self.args {
            // What can't be read may be a secret, so it is not repeated.
            let args = serde_json::from_str::<BTreeMap<String, String>>(args).map_err(|_| {
                let detail = "args is no JSON object of texts, such as {\"VERSION\":\"1.2\"}";
                Failure::new(Code::BadRequest, detail)
            })?;
            build.args.extend(args);
        }
        let mut manifest = convert::manifest(&manifest)?;
        manifest.build.recipe = Arc::new(Recipe {
            pull: self.pull,
            no_cache: self.no_cache,
            ..Recipe::clone(&manifest.build.recipe)
        });
        Ok(manifest)
    }
}
