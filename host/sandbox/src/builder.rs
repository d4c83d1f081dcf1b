//! The trait [`Builder`], which makes images. The code above it does not know what makes them.

use futures_util::future::BoxFuture;
use hersh_program::{BuildId, ImageId, ProgramId};

use crate::{
    BuildError, BuildRequest, CollectionCounts, Retention, StopError, Unavailable, UsedImages,
};

/// Makes images. A caller may drop any future of these methods at any point. The images are for the
/// [`Runtime`](crate::Runtime) of the same host and nobody else.
pub trait Builder: Send + Sync + 'static {
    /// Builds the image of one source tree, or returns the image that was built for it before.
    ///
    /// # Errors
    /// [`BuildError`]; after any of them nothing of the build is left.
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>>;

    /// Returns the image that was built for a source tree, if there still is one.
    ///
    /// # Errors
    /// [`Unavailable`] when the builder does not answer.
    fn find(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>>;

    /// Removes every image that was built for a program, and ends the followers of the program's output. The
    /// program is being removed. If nothing is there, that is a success.
    ///
    /// # Errors
    /// [`StopError`] when an image may still be there.
    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Removes what this host's builds left: images that `in_use` does not name, the remains of failed
    /// builds, and base images that were fetched. `kept` says how long the last two stay. Does nothing while
    /// a build runs. Leaves alone what carries somebody else's name or is used by an instance.
    ///
    /// # Errors
    /// [`Unavailable`] when the builder does not answer.
    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> UsedImages + Send + Sync),
        kept: Retention,
    ) -> BoxFuture<'a, Result<CollectionCounts, Unavailable>>;
}
