//! A [`Builder`] over a [`FakeEngine`](super::FakeEngine).

use futures_util::{FutureExt, future::BoxFuture};
use hersh_program::{BuildId, ImageId, ProgramId};

use super::{FakeRuntime, Operation, engine_link::EngineLink, trouble::strange};
use hersh_sandbox::{
    BuildError, BuildRequest, Builder, CollectionCounts, Retention, StopError, Unavailable,
    UsedImages,
};

impl Builder for FakeRuntime {
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>> {
        let BuildRequest {
            program,
            build,
            permit,
            cancel,
            ..
        } = request;
        let operation = Operation::Build(program, build);
        async move {
            let _held = permit;
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(BuildError::Cancelled),
                built = self.link.find_image(operation) => {
                    built?.ok_or_else(|| strange().into())
                }
            }
        }
        .boxed()
    }

    fn find(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>> {
        let operation = Operation::Image(program.clone(), build.clone());
        async move { Ok(self.link.find_image(operation).await?) }.boxed()
    }

    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>> {
        let operation = Operation::Forget(program.clone());
        async move { Ok(self.link.ask(operation).await.map(drop)?) }.boxed()
    }

    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> UsedImages + Send + Sync),
        _kept: Retention,
    ) -> BoxFuture<'a, Result<CollectionCounts, Unavailable>> {
        let images = match &self.link {
            EngineLink::Here(engine) => engine.collect(&in_use()),
            // What another process keeps is that process's own.
            EngineLink::There(_) => 0,
        };
        let mut collected = CollectionCounts::default();
        collected.add("images", images);
        std::future::ready(Ok(collected)).boxed()
    }
}
