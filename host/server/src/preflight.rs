//! What a host would refuse, for a client on the way to it: nothing has to be sent to learn of it.

use std::collections::BTreeMap;

use hersh_program::ProgramId;

use hersh_docker::dockerfile::{Asked, Dockerfile};

/// Checks the name of a program.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let parsed = ProgramId::parse(name);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// Checks the bounds of a manifest; those of the host's machine are not known here.
///
/// # Errors
/// The key that can't be used, and what it may be.
pub fn check_manifest(manifest: &hersh_wire::Manifest) -> Result<(), String> {
    let checked = hersh_manifest::read(manifest);
    checked.map(drop).map_err(|error| error.to_string())
}

/// Checks a Dockerfile as far as the stage `target`, with `args` for its `ARG`s. Whether its images are
/// there is known to the host alone.
///
/// # Errors
/// What can't be built, with its line.
pub fn check_dockerfile(
    bytes: &[u8],
    target: Option<String>,
    args: BTreeMap<String, String>,
) -> Result<(), String> {
    let asked = Asked {
        target,
        args,
        ..Asked::default()
    };
    let read = Dockerfile::read_for(bytes, asked);
    read.map(drop).map_err(|error| error.to_string())
}
