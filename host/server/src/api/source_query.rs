//! What one call that brings source says beside it.

use hersh_program::RevisionNote;
use hersh_wire::{Code, check_revision_message};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{build_query::BuildQuery, problem::Failure};
use crate::auth::Caller;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CreateQuery {
    /// The program's name, for archives whose `hersh.toml` has none; JSON carries it inside.
    pub(super) name: Option<String>,
    /// What is new about it, in one line: at most 500 characters.
    #[param(max_length = 500)]
    message: Option<String>,
    /// The path of the Dockerfile in the source, over `build.dockerfile` of the manifest.
    dockerfile: Option<String>,
    /// The stage that becomes the image, over `build.target` of the manifest.
    target: Option<String>,
    /// Fetch base images anew that the host fetched earlier, and build anew.
    #[serde(default)]
    pull: bool,
    /// Run every step anew.
    #[serde(default)]
    no_cache: bool,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReplaceQuery {
    /// What is new about it, in one line: at most 500 characters.
    #[param(max_length = 500)]
    message: Option<String>,
    /// The path of the Dockerfile in the source, over `build.dockerfile` of the manifest.
    dockerfile: Option<String>,
    /// The stage that becomes the image, over `build.target` of the manifest.
    target: Option<String>,
    /// Fetch base images anew that the host fetched earlier, and build anew.
    #[serde(default)]
    pull: bool,
    /// Run every step anew.
    #[serde(default)]
    no_cache: bool,
}

impl CreateQuery {
    pub(super) fn build(&self) -> BuildQuery {
        BuildQuery {
            dockerfile: self.dockerfile.clone(),
            target: self.target.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
        }
    }

    /// Returns who deploys, and why.
    ///
    /// # Errors
    /// A [`Failure`] for a message that can't be kept.
    pub(super) fn note(&self, caller: &Caller) -> Result<RevisionNote, Failure> {
        note(caller, self.message.as_deref())
    }
}

impl ReplaceQuery {
    pub(super) fn build(&self) -> BuildQuery {
        BuildQuery {
            dockerfile: self.dockerfile.clone(),
            target: self.target.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
        }
    }

    /// Returns who deploys, and why.
    ///
    /// # Errors
    /// A [`Failure`] for a message that can't be kept.
    pub(super) fn note(&self, caller: &Caller) -> Result<RevisionNote, Failure> {
        note(caller, self.message.as_deref())
    }
}

fn note(caller: &Caller, message: Option<&str>) -> Result<RevisionNote, Failure> {
    let message = message.unwrap_or_default();
    check_revision_message(message)
        .map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
    let message = message.trim();
    Ok(RevisionNote {
        by: Some(caller.user.clone()),
        message: (!message.is_empty()).then(|| message.to_owned()),
    })
}
