//! Names at the root of a source tree that mean something to the host.

/// The file that says how the program is built, if the manifest names no other one.
pub const DOCKERFILE: &str = "Dockerfile";
/// The manifest, which says how the program runs. No build sees this file: it may hold secrets, and a
/// change of it needs no new build.
pub const MANIFEST: &str = "hersh.toml";
/// The file that names the files that the client does not send, and which of the files above no build sees.
pub(super) const IGNORE: &str = ".dockerignore";
/// The file with the Dockerfile that the host wrote, beside the tree's own. The engine removes this file
/// before it copies anything.
pub const BUILD_DOCKERFILE: &str = ".hersh.dockerfile";

/// Returns whether the host itself writes a file at this path, so that a source may not have one there.
pub(super) fn is_reserved(path: &str) -> bool {
    path == BUILD_DOCKERFILE
}
