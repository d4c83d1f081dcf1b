//! Names at the root of a source tree that mean something to the host.

/// What says how to build it.
pub const DOCKERFILE: &str = "Dockerfile";
/// What says how to run it. No build sees it: it may hold secrets, and a change of it builds nothing.
pub const MANIFEST: &str = "hersh.toml";
/// What the sender left out, and what of the files above no build sees.
pub(super) const IGNORE: &str = ".dockerignore";
/// Where the engine finds the Dockerfile that the host wrote, beside the tree's own. The engine
/// removes it before it copies anything.
pub const BUILD_DOCKERFILE: &str = ".hersh.dockerfile";

/// Whether the host itself may put something at this path.
pub(super) fn is_reserved(path: &str) -> bool {
    path == BUILD_DOCKERFILE
}
