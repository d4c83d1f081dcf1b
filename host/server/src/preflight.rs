//! Checks what a host would refuse, so that a client learns of it before it sends anything.

use std::collections::BTreeMap;

use hersh_program::ProgramId;

use hersh_docker::dockerfile::{BuildInput, Dockerfile};

/// Checks the name of a program.
///
/// # Errors
/// A text that says what is wrong with the name.
pub fn check_name(name: &str) -> Result<(), String> {
    let parsed = ProgramId::parse(name);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// Checks the bounds of a manifest; those of the host's machine are not known here.
///
/// # Errors
/// A text that names the key that can't be used, and what it may be.
pub fn check_manifest(manifest: &hersh_wire::Manifest) -> Result<(), String> {
    let checked = hersh_manifest::read(manifest);
    checked.map(drop).map_err(|error| error.to_string())
}

/// Checks a Dockerfile as far as the stage `target`, with `args` for its `ARG`s. Whether its images are
/// there is known to the host alone.
///
/// # Errors
/// A text that names what can't be built, with its line.
pub fn check_dockerfile(
    bytes: &[u8],
    target: Option<String>,
    args: BTreeMap<String, String>,
) -> Result<(), String> {
    let asked = BuildInput {
        target,
        args,
        ..BuildInput::default()
    };
    let read = Dockerfile::read_for(bytes, asked);
    read.map(drop).map_err(|error| error.to_string())
}
