//! Readers of what strangers send, by themselves: for those who send them anything.

use hersh_program::Manifest;
use hersh_wire::CreateProgram;

use crate::convert;

/// Takes in a `hersh.toml`.
///
/// # Errors
/// What is wrong with it.
pub fn manifest_from_toml(text: &str) -> Result<Manifest, String> {
    let asked = toml::from_str(text).map_err(|error| error.to_string())?;
    convert::manifest(&asked).map_err(|error| error.to_string())
}

/// Takes in the manifest of a `POST /programs`.
///
/// # Errors
/// What is wrong with it.
pub fn manifest_from_json(text: &str) -> Result<Manifest, String> {
    let asked: CreateProgram = serde_json::from_str(text).map_err(|error| error.to_string())?;
    convert::manifest(&asked.manifest).map_err(|error| error.to_string())
}

/// The manifest as the API shows it, as JSON.
#[must_use]
pub fn shown_manifest(manifest: &Manifest) -> String {
    serde_json::json!(convert::manifest_view(manifest)).to_string()
}
