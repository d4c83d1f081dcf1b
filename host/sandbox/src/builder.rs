//! Where images are made. Nothing above [`Builder`] knows what does it.

use futures_util::future::BoxFuture;
use hersh_program::{BuildId, ImageId, ProgramId};

use crate::{BuildError, BuildRequest, Collected, InUse, Retention, StopError, Unavailable};

/// What builds images, as the host sees it. Dropping a future that one of these returned is allowed at
/// any point. The images are for the [`Runtime`](crate::Runtime) of the same host and nobody else.
pub trait Builder: Send + Sync + 'static {
    /// Builds the image of one source tree, or answers with the one that was built before.
    ///
    /// # Errors
    /// [`BuildError`]; after any of them nothing of the build is left.
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>>;

    /// The image built for a source tree, if it stands.
    ///
    /// # Errors
    /// [`Unavailable`] when the builder does not answer.
    fn find(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>>;

    /// Removes every image built for the program, and ends the followers of its output. For a
    /// program that is being removed; nothing there is a success.
    ///
    /// # Errors
    /// [`StopError`] when an image may still be there.
    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Removes what this host's builds left: images that `in_use` does not name, what failed builds
    /// left, and base images that were fetched, as `kept` says. Does nothing while a build runs.
    /// What carries somebody else's name, or is used by an instance, stays.
    ///
    /// # Errors
    /// [`Unavailable`] when the builder does not answer.
    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> InUse + Send + Sync),
        kept: Retention,
    ) -> BoxFuture<'a, Result<Collected, Unavailable>>;
}
