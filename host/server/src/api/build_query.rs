//! What one call asks of a build. It takes precedence over what the manifest says.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use hersh_program::{Manifest, Recipe};
use hersh_wire::{BUILD_ARGS_HEADER, Code, Manifest as Asked};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Failure;

/// The most bytes of the header with values for `ARG`s, out of the 64 KiB that a request's head may have.
/// That is enough for all the values that a manifest may have.
const ARGS_HEADER_BYTES_MAX: usize = 48 * 1024;

/// The description of the header with values for `ARG`s, for the document of the API.
pub(super) const ARGS_HEADER_IS: &str = "Values for the Dockerfile's `ARG`s, over those of the manifest: a JSON object of texts, in base64 of at most 48 KiB";

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BuildQuery {
    /// The path of the Dockerfile in the source, over `build.dockerfile` of the manifest.
    pub(super) dockerfile: Option<String>,
    /// The stage that becomes the image, over `build.target` of the manifest.
    pub(super) target: Option<String>,
    /// Fetch base images anew that the host fetched earlier, and build anew.
    #[serde(default)]
    pub(super) pull: bool,
    /// Run every step anew.
    #[serde(default)]
    pub(super) no_cache: bool,
}

/// A query, and the values for `ARG`s that came in a header beside it.
pub(super) struct BuildParameters {
    query: BuildQuery,
    args: BTreeMap<String, String>,
}

impl BuildQuery {
    /// Adds the values for the Dockerfile's `ARG`s that a header carries.
    ///
    /// # Errors
    /// A [`Failure`] for values that can't be read.
    pub(super) fn with(self, headers: &HeaderMap) -> Result<BuildParameters, Failure> {
        let mut values = headers.get_all(BUILD_ARGS_HEADER).iter();
        let args = match (values.next(), values.next()) {
            (None, _) => BTreeMap::new(),
            (Some(value), None) => args(value.as_bytes()).ok_or_else(unreadable)?,
            (Some(_), Some(_)) => return Err(unreadable()),
        };
        Ok(BuildParameters { query: self, args })
    }
}

impl BuildParameters {
    /// Returns the manifest that the program gets: `manifest`, but with what the call asks for instead.
    ///
    /// # Errors
    /// A [`Failure`] when the result is no manifest that can be used.
    pub(super) fn manifest(self, mut manifest: Asked) -> Result<Manifest, Failure> {
        let build = &mut manifest.build;
        build.dockerfile = self.query.dockerfile.or(build.dockerfile.take());
        build.target = self.query.target.or(build.target.take());
        build.args.extend(self.args);
        let mut manifest = hersh_manifest::read(&manifest)?;
        manifest.build.recipe = Arc::new(Recipe {
            pull: self.query.pull,
            no_cache: self.query.no_cache,
            ..Recipe::clone(&manifest.build.recipe)
        });
        Ok(manifest)
    }
}

fn args(value: &[u8]) -> Option<BTreeMap<String, String>> {
    if value.len() > ARGS_HEADER_BYTES_MAX {
        return None;
    }
    let text = STANDARD.decode(value).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the failure for a header that can't be read. The header may hold a secret, so the failure does
/// not repeat it.
fn unreadable() -> Failure {
    let detail = format!(
        "{BUILD_ARGS_HEADER} is no JSON object of texts, such as {{\"VERSION\":\"1.2\"}}, in base64 of at \
         most {ARGS_HEADER_BYTES_MAX} bytes; send it once"
    );
    Failure::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn values_are_read_from_one_header_of_bounded_size() {
        let headers = |values: &[&str]| {
            let values = values.iter();
            let values = values.map(|value| HeaderValue::from_str(value).unwrap());
            values
                .map(|value| (BUILD_ARGS_HEADER.parse().unwrap(), value))
                .collect::<HeaderMap>()
        };
        let read = |values: &[&str]| {
            let asked = BuildQuery::default().with(&headers(values));
            asked.map(|asked| asked.args).ok()
        };
        assert_eq!(read(&[]), Some(BTreeMap::new()));
        let one = STANDARD.encode("{\"A\":\"\u{fc}\"}");
        let expected = BTreeMap::from([("A".to_owned(), "\u{fc}".to_owned())]);
        assert_eq!(read(&[&one]), Some(expected));
        assert_eq!(read(&[&one, &one]), None, "which of them counts?");
        let large = STANDARD.encode(format!("{{\"A\":\"{}\"}}", "x".repeat(40 * 1024)));
        for value in ["", "{}", "e30", &STANDARD.encode("[\"A\"]"), &large] {
            assert_eq!(read(&[value]), None, "{value:.20}");
        }
    }
}
